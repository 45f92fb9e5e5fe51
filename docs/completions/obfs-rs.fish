# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_obfs_rs_global_optspecs
    string join \n version obfs= mode= host= sni= tls= quic quic-congestion= cert= certRaw= key= mux= serviceName= header= user-agent= proxy= keepalive= fwmark= localAddr= localPort= remoteAddr= remotePort= obfs-host= obfs-tls-host= obfs-uri= path= route= http-method= handshake= failover= failover-tls= failover-http= failover-h2= failover-quic= failover-proxy= proxy-protocol= trusted= reverse-proxy udp limit-tunnels= limit-tunnels-per-address= limit-rate-per-address= limit-buffers= t/timeout= fast-open mptcp i/interface= b/source-address= 6/ipv6-first d/nameserver= V/android-vpn c/config= a/user= f/pid-file= n/nofile= drain= loglevel= access-log= access-log-format= v/verbose metrics= metrics-public server client h/help
end

function __fish_obfs_rs_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_obfs_rs_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_obfs_rs_using_subcommand
    set -l cmd (__fish_obfs_rs_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs -d 'What the connections look like: http (a client\'s default), an HTTP upgrade, or tls, a look-alike of a TLS session, both as simple-obfs makes them; websocket (or ws) is mode=websocket. A server may take both: http,tls.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l mode -d 'websocket or quic, as v2ray-plugin makes them, httpupgrade, as v2ray and xray have it, or grpc, as its fork has it; a server takes both websocket and httpupgrade where it takes one. A server\'s default is auto: every kind of client on one port, quic among them where the option quic is set.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l host -d 'WebSocket client: the name in the Host header and in the TLS hello (default: cloudfront.com). Server: the name whose certificate acme.sh has; requests are not compared with it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l sni -l peer -d 'Client: the name in the TLS hello, where it is not that of host. Server: TLS for this name, or for all names below it (*.example.com), goes raw to HOST:PORT; may be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l tls -d 'TLS around WebSocket or HTTPUpgrade; a server with mode=websocket or mode=httpupgrade then takes nothing in the clear. With mode=auto, also where that is the default, it takes both; with tls=only, nothing in the clear either.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l quic-congestion -d 'With QUIC: how fast to send, cubic (the default) by what is lost, or bbr by what arrives, which is experimental.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l cert -d 'Client: certificates in PEM to be trusted beside the system\'s. Server: its certificate chain (default: acme.sh\'s for host); it is read anew when it changes.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l certRaw -l cert-raw -d 'The same as cert, as the text between the lines of a PEM file.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l key -d 'The certificate\'s key, in PEM (default: acme.sh\'s for host).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l mux -d 'WebSocket and gRPC client: so many sessions share a connection, or a stream of one (default: 1, with gRPC 0); 0 is no Mux.Cool. A server always takes both.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l serviceName -l service-name -d 'gRPC: the service that a client asks for, and that a server takes (default: GunService); with a leading slash, a whole path. A server may be given several, and takes gRPC beside every other kind of client where one is given.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l header -d 'WebSocket and HTTPUpgrade client: one more header of the request; may be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l user-agent -d 'WebSocket and HTTPUpgrade client: what the request\'s User-Agent says (default: Go-http-client/1.1).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l proxy -d 'Reach the server through a proxy, which looks its name up: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded (default port: 1080).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l keepalive -l keep-alive -d 'WebSocket client: send a ping on a connection on which nothing was sent, or nothing has come, for nearly so long, for proxies in front that end idle ones (default: 45); 0 sends none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l fwmark -d 'Mark outgoing packets (SO_MARK on Linux).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l localAddr -l local-addr -d 'In SS_LOCAL_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l localPort -l local-port -d 'In SS_LOCAL_PORT\'s place.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l remoteAddr -l remote-addr -d 'In SS_REMOTE_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l remotePort -l remote-port -d 'In SS_REMOTE_PORT\'s place.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs-host -d 'Client: the name in the Host header or in the TLS hello (default: the remote\'s own name). Server: take only connections that ask for this name (default: any).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs-tls-host -d 'Take the hellos of obfs=tls for these names alone, several with a comma. With tls they are taken for no others: who asks for one of these names finds the tunnel, so it is to be none of the website\'s.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs-uri -d 'Client: the path of the request (default: that of path, or /). Server: take only requests for this path (default: that of path, or any).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l path -d 'The same for WebSocket and HTTPUpgrade (default: that of obfs-uri, or /).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l route -d '/PATH:HOST:PORT: requests for this path, of WebSocket, HTTPUpgrade and obfs=http, go to the Shadowsocks server at HOST:PORT. NAME:HOST:PORT: so do clients with TLS whose hello asks for this name, which is one of the certificate\'s; the path goes before the name. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l http-method -d 'The method of the request that is sent, or taken (default: GET).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l handshake -d 'eager: the first bytes travel with the request, as simple-obfs sends them (default). standard: they wait for the answer, which costs a round trip and passes every front proxy.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover -l fallback -d 'The website behind the server: whatever is not a tunnel goes there, untouched. HOST:PORT, or one that is served from here, as nginx would: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER for everything.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS, where it is another one than failover. With tls: where TLS goes that is not for the server\'s own name, or that no client of ours would speak. Always an address.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-http -l fallback-http -d 'With tls: the website for visitors who come without TLS (default: with mode=auto that of failover; else failover-tls, or a page that says that this is a port for HTTPS).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-h2 -l fallback-h2 -d 'With tls: offer HTTP/2 to visitors, and hand those who take it to this port, which speaks HTTP/2 in the clear; `same` is the port of failover. Where gRPC is taken in the clear: visitors who speak HTTP/2 there go there, too.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-quic -l fallback-quic -d 'With mode=quic, or quic: the website\'s HTTP/3, to which every QUIC connection goes that is not for the server\'s own name, or that offers the protocol h3. Without it, nobody answers these.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-proxy -l fallback-proxy -d 'Tell the websites with a PROXY header who came: v1, a line of text, or v2, binary. They must expect one.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l proxy-protocol -d 'in: connections from the addresses in trusted begin with a PROXY header, version 1 or 2, that says where the visitor came from; without one they are closed.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, several with a comma: their word is taken about where a visitor came from, by proxy-protocol and, for the log, in X-Forwarded-For.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-tunnels -d 'The most tunnels that are open at a time; with mux each session is one. A client too many waits for 5 s and then meets the website (default: no limit).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-tunnels-per-address -d 'The same for each address, of IPv6 for each network of 64 bits; behind a proxy in trusted the visitor\'s own.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-rate-per-address -d 'The new connections of an address in a second that may become tunnels, and at once as many as in two seconds. Visitors count and are not limited.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-buffers -d 'The most that waits in the process, in MiB, for those who do not take it; beyond it nothing more is read for them (default: a quarter of the memory).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s t -l timeout -d 'End a tunnel on which nothing moved for so long (default: 7200).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s i -l interface -d 'Send what is dialled out of this network interface (not what stays on this machine).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s b -l source-address -l bind-address -d 'Dial from this address of this machine; only addresses of its family are dialled then.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s d -l nameserver -d 'Taken for old configurations and not followed, as simple-obfs does not follow it: names are looked up the way the system is set up. A line in the log says so.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s c -l config -d 'Read options from this JSON file, with the names they have here or in simple-obfs. Options and variables that are given otherwise win.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s a -l user -d 'Once it listens, go on as this user (name or number) with the user\'s groups. A second process keeps the right to read cert and key, for their renewal.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s f -l pid-file -d 'Once it listens, write the process id into this file and go on in the background, logging to syslog; under a Shadowsocks program, which watches its plugin, in the foreground.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s n -l nofile -d 'The most files and connections that may be open (default: as many as the system allows, and one for each 48 KiB of memory).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l drain -d 'On SIGTERM, close the port and let open tunnels go on until they end, for up to so long (at most 86400); a second SIGTERM ends at once. Default: all end with the first.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l loglevel -d 'What is logged: error, warning, info (default), debug or none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l access-log -d 'A line for each connection when it has ended, at the end of the file; SIGHUP opens it anew.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l access-log-format -d 'How these lines look: json (default) or text.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l metrics -d 'Metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them (default: none). An address of this machine for itself (127.0.0.1:9180), or the path of a Unix socket (/run/obfs-rs.sock).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l version -d 'Print the version.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l quic -d 'With mode=auto and tls: take QUIC as well, on UDP of the same port. (mode=quic takes it alone, and leaves TCP of the port to others.)'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l reverse-proxy -d 'Answer the upgrade at once, as proxies in front need it. The server always does; taken for old configurations.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l udp -d 'Carry UDP, too, in mode=websocket, quic or grpc: a client takes it at its local port, a server sends it to Shadowsocks\'s. For hosts that pass it through plugins: shadowsocks-rust with plugin_mode=tcp_and_udp (or udp_only). Both halves need it; v2ray-plugin\'s server has it already.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open) where the system has it.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l mptcp -d 'Use Multipath TCP between the halves where the system has it, TCP where it has not.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s 6 -l ipv6-first -d 'Of a name\'s addresses, try IPv6 first (default: the order of the system).'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s V -l android-vpn -d 'On Android: have every socket exempted from the VPN before it dials, by whoever listens on protect_path in the working directory.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l metrics-public -d 'Take an address for metrics that others reach, too.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l server -d 'Be the server half.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l client -d 'Be the client half.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s h -l help -d 'Print help'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "client" -d 'The client half: takes plain connections, sends them disguised to a server half.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "server" -d 'The server half: takes disguised connections for Shadowsocks, hands all others to a website.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "demo" -d 'Show that it works: site, echo, server and client in one process, 100 MB through the tunnel.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "check" -d 'Dry run: say what options ask for and what is odd, and try what they need.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "probe" -d 'Show whether visitors can tell a server from the website behind it: visit both, and compare.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "ready" -d 'Ask a half that runs whether it is ready: for a health check.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l listen -d 'Where plain connections come in (SS_LOCAL_HOST, SS_LOCAL_PORT).' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l remote -d 'The server half; several hosts with `|` (SS_REMOTE_HOST, SS_REMOTE_PORT).' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs -d 'What the connections look like: http (a client\'s default), an HTTP upgrade, or tls, a look-alike of a TLS session, both as simple-obfs makes them; websocket (or ws) is mode=websocket. A server may take both: http,tls.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l mode -d 'websocket or quic, as v2ray-plugin makes them, httpupgrade, as v2ray and xray have it, or grpc, as its fork has it; a server takes both websocket and httpupgrade where it takes one. A server\'s default is auto: every kind of client on one port, quic among them where the option quic is set.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l host -d 'The name in the Host header and in the TLS hello (default: cloudfront.com).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l sni -l peer -d 'The name in the TLS hello, where it is not that of host.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l tls -d 'TLS around WebSocket or HTTPUpgrade; a server with mode=websocket or mode=httpupgrade then takes nothing in the clear. With mode=auto, also where that is the default, it takes both; with tls=only, nothing in the clear either.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l quic-congestion -d 'With QUIC: how fast to send, cubic (the default) by what is lost, or bbr by what arrives, which is experimental.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l cert -d 'Certificates in PEM to be trusted beside the system\'s.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l certRaw -l cert-raw -d 'The same as cert, as the text between the lines of a PEM file.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l key -d 'The certificate\'s key, in PEM (default: acme.sh\'s for host).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l mux -d 'WebSocket and gRPC client: so many sessions share a connection, or a stream of one (default: 1, with gRPC 0); 0 is no Mux.Cool. A server always takes both.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l serviceName -l service-name -d 'gRPC: the service that a client asks for, and that a server takes (default: GunService); with a leading slash, a whole path. A server may be given several, and takes gRPC beside every other kind of client where one is given.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l header -d 'WebSocket and HTTPUpgrade client: one more header of the request; may be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l user-agent -d 'WebSocket and HTTPUpgrade client: what the request\'s User-Agent says (default: Go-http-client/1.1).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l proxy -d 'Reach the server through a proxy, which looks its name up: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded (default port: 1080).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l keepalive -l keep-alive -d 'WebSocket client: send a ping on a connection on which nothing was sent, or nothing has come, for nearly so long, for proxies in front that end idle ones (default: 45); 0 sends none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l fwmark -d 'Mark outgoing packets (SO_MARK on Linux).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l localAddr -l local-addr -d 'In SS_LOCAL_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l localPort -l local-port -d 'In SS_LOCAL_PORT\'s place.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l remoteAddr -l remote-addr -d 'In SS_REMOTE_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l remotePort -l remote-port -d 'In SS_REMOTE_PORT\'s place.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs-host -d 'The name in the Host header or in the TLS hello (default: the remote\'s own name).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs-tls-host -d 'Take the hellos of obfs=tls for these names alone, several with a comma. With tls they are taken for no others: who asks for one of these names finds the tunnel, so it is to be none of the website\'s.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs-uri -d 'The path of the request (default: that of path, or /).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l path -d 'The same for WebSocket and HTTPUpgrade (default: that of obfs-uri, or /).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l route -d '/PATH:HOST:PORT: requests for this path, of WebSocket, HTTPUpgrade and obfs=http, go to the Shadowsocks server at HOST:PORT. NAME:HOST:PORT: so do clients with TLS whose hello asks for this name, which is one of the certificate\'s; the path goes before the name. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l http-method -d 'The method of the request that is sent, or taken (default: GET).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l handshake -d 'eager: the first bytes travel with the request, as simple-obfs sends them (default). standard: they wait for the answer, which costs a round trip and passes every front proxy.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover -l fallback -d 'The website behind the server: whatever is not a tunnel goes there, untouched. HOST:PORT, or one that is served from here, as nginx would: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER for everything.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS, where it is another one than failover. With tls: where TLS goes that is not for the server\'s own name, or that no client of ours would speak. Always an address.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-http -l fallback-http -d 'With tls: the website for visitors who come without TLS (default: with mode=auto that of failover; else failover-tls, or a page that says that this is a port for HTTPS).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-h2 -l fallback-h2 -d 'With tls: offer HTTP/2 to visitors, and hand those who take it to this port, which speaks HTTP/2 in the clear; `same` is the port of failover. Where gRPC is taken in the clear: visitors who speak HTTP/2 there go there, too.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-quic -l fallback-quic -d 'With mode=quic, or quic: the website\'s HTTP/3, to which every QUIC connection goes that is not for the server\'s own name, or that offers the protocol h3. Without it, nobody answers these.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-proxy -l fallback-proxy -d 'Tell the websites with a PROXY header who came: v1, a line of text, or v2, binary. They must expect one.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l proxy-protocol -d 'in: connections from the addresses in trusted begin with a PROXY header, version 1 or 2, that says where the visitor came from; without one they are closed.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, several with a comma: their word is taken about where a visitor came from, by proxy-protocol and, for the log, in X-Forwarded-For.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-tunnels -d 'The most tunnels that are open at a time; with mux each session is one. A client too many waits for 5 s and then meets the website (default: no limit).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-tunnels-per-address -d 'The same for each address, of IPv6 for each network of 64 bits; behind a proxy in trusted the visitor\'s own.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-rate-per-address -d 'The new connections of an address in a second that may become tunnels, and at once as many as in two seconds. Visitors count and are not limited.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-buffers -d 'The most that waits in the process, in MiB, for those who do not take it; beyond it nothing more is read for them (default: a quarter of the memory).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s t -l timeout -d 'End a tunnel on which nothing moved for so long (default: 7200).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s i -l interface -d 'Send what is dialled out of this network interface (not what stays on this machine).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s b -l source-address -l bind-address -d 'Dial from this address of this machine; only addresses of its family are dialled then.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s d -l nameserver -d 'Taken for old configurations and not followed, as simple-obfs does not follow it: names are looked up the way the system is set up. A line in the log says so.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s c -l config -d 'Read options from this JSON file, with the names they have here or in simple-obfs. Options and variables that are given otherwise win.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s a -l user -d 'Once it listens, go on as this user (name or number) with the user\'s groups. A second process keeps the right to read cert and key, for their renewal.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s f -l pid-file -d 'Once it listens, write the process id into this file and go on in the background, logging to syslog; under a Shadowsocks program, which watches its plugin, in the foreground.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s n -l nofile -d 'The most files and connections that may be open (default: as many as the system allows, and one for each 48 KiB of memory).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l drain -d 'On SIGTERM, close the port and let open tunnels go on until they end, for up to so long (at most 86400); a second SIGTERM ends at once. Default: all end with the first.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l loglevel -d 'What is logged: error, warning, info (default), debug or none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l access-log -d 'A line for each connection when it has ended, at the end of the file; SIGHUP opens it anew.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l access-log-format -d 'How these lines look: json (default) or text.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l metrics -d 'Metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them (default: none). An address of this machine for itself (127.0.0.1:9180), or the path of a Unix socket (/run/obfs-rs.sock).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l quic -d 'With mode=auto and tls: take QUIC as well, on UDP of the same port. (mode=quic takes it alone, and leaves TCP of the port to others.)'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l reverse-proxy -d 'Answer the upgrade at once, as proxies in front need it. The server always does; taken for old configurations.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l udp -d 'Carry UDP, too, in mode=websocket, quic or grpc: a client takes it at its local port, a server sends it to Shadowsocks\'s. For hosts that pass it through plugins: shadowsocks-rust with plugin_mode=tcp_and_udp (or udp_only). Both halves need it; v2ray-plugin\'s server has it already.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open) where the system has it.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l mptcp -d 'Use Multipath TCP between the halves where the system has it, TCP where it has not.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s 6 -l ipv6-first -d 'Of a name\'s addresses, try IPv6 first (default: the order of the system).'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s V -l android-vpn -d 'On Android: have every socket exempted from the VPN before it dials, by whoever listens on protect_path in the working directory.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l metrics-public -d 'Take an address for metrics that others reach, too.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s h -l help -d 'Print help'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l listen -d 'The public address; several hosts with `|` (SS_REMOTE_HOST, SS_REMOTE_PORT).' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l backend -d 'Where Shadowsocks listens (SS_LOCAL_HOST, SS_LOCAL_PORT).' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs -d 'What the connections look like: http (a client\'s default), an HTTP upgrade, or tls, a look-alike of a TLS session, both as simple-obfs makes them; websocket (or ws) is mode=websocket. A server may take both: http,tls.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l mode -d 'websocket or quic, as v2ray-plugin makes them, httpupgrade, as v2ray and xray have it, or grpc, as its fork has it; a server takes both websocket and httpupgrade where it takes one. A server\'s default is auto: every kind of client on one port, quic among them where the option quic is set.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l host -d 'The name whose certificate acme.sh has; requests are not compared with it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l sni -l peer -d 'TLS for this name, or for all names below it (*.example.com), goes raw to HOST:PORT; may be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l tls -d 'TLS around WebSocket or HTTPUpgrade; a server with mode=websocket or mode=httpupgrade then takes nothing in the clear. With mode=auto, also where that is the default, it takes both; with tls=only, nothing in the clear either.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l quic-congestion -d 'With QUIC: how fast to send, cubic (the default) by what is lost, or bbr by what arrives, which is experimental.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l cert -d 'Its certificate chain (default: acme.sh\'s for host); it is read anew when it changes.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l certRaw -l cert-raw -d 'The same as cert, as the text between the lines of a PEM file.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l key -d 'The certificate\'s key, in PEM (default: acme.sh\'s for host).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l mux -d 'WebSocket and gRPC client: so many sessions share a connection, or a stream of one (default: 1, with gRPC 0); 0 is no Mux.Cool. A server always takes both.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l serviceName -l service-name -d 'gRPC: the service that a client asks for, and that a server takes (default: GunService); with a leading slash, a whole path. A server may be given several, and takes gRPC beside every other kind of client where one is given.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l header -d 'WebSocket and HTTPUpgrade client: one more header of the request; may be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l user-agent -d 'WebSocket and HTTPUpgrade client: what the request\'s User-Agent says (default: Go-http-client/1.1).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l proxy -d 'Reach the server through a proxy, which looks its name up: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded (default port: 1080).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l keepalive -l keep-alive -d 'WebSocket client: send a ping on a connection on which nothing was sent, or nothing has come, for nearly so long, for proxies in front that end idle ones (default: 45); 0 sends none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l fwmark -d 'Mark outgoing packets (SO_MARK on Linux).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l localAddr -l local-addr -d 'In SS_LOCAL_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l localPort -l local-port -d 'In SS_LOCAL_PORT\'s place.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l remoteAddr -l remote-addr -d 'In SS_REMOTE_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l remotePort -l remote-port -d 'In SS_REMOTE_PORT\'s place.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs-host -d 'Take only connections that ask for this name (default: any).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs-tls-host -d 'Take the hellos of obfs=tls for these names alone, several with a comma. With tls they are taken for no others: who asks for one of these names finds the tunnel, so it is to be none of the website\'s.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs-uri -d 'Take only requests for this path (default: that of path, or any).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l path -d 'The same for WebSocket and HTTPUpgrade (default: that of obfs-uri, or /).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l route -d '/PATH:HOST:PORT: requests for this path, of WebSocket, HTTPUpgrade and obfs=http, go to the Shadowsocks server at HOST:PORT. NAME:HOST:PORT: so do clients with TLS whose hello asks for this name, which is one of the certificate\'s; the path goes before the name. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l http-method -d 'The method of the request that is sent, or taken (default: GET).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l handshake -d 'eager: the first bytes travel with the request, as simple-obfs sends them (default). standard: they wait for the answer, which costs a round trip and passes every front proxy.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover -l fallback -d 'The website behind the server: whatever is not a tunnel goes there, untouched. HOST:PORT, or one that is served from here, as nginx would: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER for everything.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS, where it is another one than failover. With tls: where TLS goes that is not for the server\'s own name, or that no client of ours would speak. Always an address.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-http -l fallback-http -d 'With tls: the website for visitors who come without TLS (default: with mode=auto that of failover; else failover-tls, or a page that says that this is a port for HTTPS).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-h2 -l fallback-h2 -d 'With tls: offer HTTP/2 to visitors, and hand those who take it to this port, which speaks HTTP/2 in the clear; `same` is the port of failover. Where gRPC is taken in the clear: visitors who speak HTTP/2 there go there, too.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-quic -l fallback-quic -d 'With mode=quic, or quic: the website\'s HTTP/3, to which every QUIC connection goes that is not for the server\'s own name, or that offers the protocol h3. Without it, nobody answers these.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-proxy -l fallback-proxy -d 'Tell the websites with a PROXY header who came: v1, a line of text, or v2, binary. They must expect one.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l proxy-protocol -d 'in: connections from the addresses in trusted begin with a PROXY header, version 1 or 2, that says where the visitor came from; without one they are closed.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, several with a comma: their word is taken about where a visitor came from, by proxy-protocol and, for the log, in X-Forwarded-For.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-tunnels -d 'The most tunnels that are open at a time; with mux each session is one. A client too many waits for 5 s and then meets the website (default: no limit).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-tunnels-per-address -d 'The same for each address, of IPv6 for each network of 64 bits; behind a proxy in trusted the visitor\'s own.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-rate-per-address -d 'The new connections of an address in a second that may become tunnels, and at once as many as in two seconds. Visitors count and are not limited.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-buffers -d 'The most that waits in the process, in MiB, for those who do not take it; beyond it nothing more is read for them (default: a quarter of the memory).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s t -l timeout -d 'End a tunnel on which nothing moved for so long (default: 7200).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s i -l interface -d 'Send what is dialled out of this network interface (not what stays on this machine).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s b -l source-address -l bind-address -d 'Dial from this address of this machine; only addresses of its family are dialled then.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s d -l nameserver -d 'Taken for old configurations and not followed, as simple-obfs does not follow it: names are looked up the way the system is set up. A line in the log says so.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s c -l config -d 'Read options from this JSON file, with the names they have here or in simple-obfs. Options and variables that are given otherwise win.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s a -l user -d 'Once it listens, go on as this user (name or number) with the user\'s groups. A second process keeps the right to read cert and key, for their renewal.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s f -l pid-file -d 'Once it listens, write the process id into this file and go on in the background, logging to syslog; under a Shadowsocks program, which watches its plugin, in the foreground.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s n -l nofile -d 'The most files and connections that may be open (default: as many as the system allows, and one for each 48 KiB of memory).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l drain -d 'On SIGTERM, close the port and let open tunnels go on until they end, for up to so long (at most 86400); a second SIGTERM ends at once. Default: all end with the first.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l loglevel -d 'What is logged: error, warning, info (default), debug or none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l access-log -d 'A line for each connection when it has ended, at the end of the file; SIGHUP opens it anew.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l access-log-format -d 'How these lines look: json (default) or text.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l metrics -d 'Metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them (default: none). An address of this machine for itself (127.0.0.1:9180), or the path of a Unix socket (/run/obfs-rs.sock).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l quic -d 'With mode=auto and tls: take QUIC as well, on UDP of the same port. (mode=quic takes it alone, and leaves TCP of the port to others.)'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l reverse-proxy -d 'Answer the upgrade at once, as proxies in front need it. The server always does; taken for old configurations.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l udp -d 'Carry UDP, too, in mode=websocket, quic or grpc: a client takes it at its local port, a server sends it to Shadowsocks\'s. For hosts that pass it through plugins: shadowsocks-rust with plugin_mode=tcp_and_udp (or udp_only). Both halves need it; v2ray-plugin\'s server has it already.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open) where the system has it.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l mptcp -d 'Use Multipath TCP between the halves where the system has it, TCP where it has not.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s 6 -l ipv6-first -d 'Of a name\'s addresses, try IPv6 first (default: the order of the system).'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s V -l android-vpn -d 'On Android: have every socket exempted from the VPN before it dials, by whoever listens on protect_path in the working directory.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l metrics-public -d 'Take an address for metrics that others reach, too.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s h -l help -d 'Print help'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand demo" -s h -l help -d 'Print help'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -l remote -d 'A client\'s: the server half; several hosts with `|`.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -l listen -d 'Where the half listens; several hosts with `|`.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -l backend -d 'A server\'s: where Shadowsocks listens.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -l client -d 'They are a client\'s.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -l server -d 'They are a server\'s.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l site -d 'The website that it must not be told from.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l name -d 'The name that is asked for, in Host and in TLS hellos (default: the server\'s HOST; hellos name no addresses).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l path -d 'The tunnel\'s path (path=, obfs-uri=). Upgrades that miss it narrowly are sent, and none that the server would have to grant (default: upgrades go to a random path).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l seed -d 'Repeat the random bytes of the run that printed this.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l wait -d 'How long a connection on which nothing happens is watched; twice as long by some probes (default: 3, at most 120).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l tls -d 'Both speak TLS.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l quic -d 'Visit them over UDP, where HTTP/3 is. Without --site, compare with a port at which nobody listens.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -l json -d 'Print the results as one JSON object.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -s v -l verbose -d 'Print every probe, also where nothing differs.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand ready" -l live -d 'Ask only whether it goes on (/healthz): also where it drains, or Shadowsocks is away.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand ready" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "client" -d 'The client half: takes plain connections, sends them disguised to a server half.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "server" -d 'The server half: takes disguised connections for Shadowsocks, hands all others to a website.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "demo" -d 'Show that it works: site, echo, server and client in one process, 100 MB through the tunnel.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "check" -d 'Dry run: say what options ask for and what is odd, and try what they need.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "probe" -d 'Show whether visitors can tell a server from the website behind it: visit both, and compare.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "ready" -d 'Ask a half that runs whether it is ready: for a health check.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
