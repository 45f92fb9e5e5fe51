# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_obfs_rs_global_optspecs
    string join \n version route= proxy= mode= obfs= host= path= obfs-host= obfs-uri= obfs-tls-host= http-method= handshake= mux= serviceName= header= user-agent= udp tls= cert= key= certRaw= sni= quic quic-congestion= failover= failover-tls= failover-http= failover-h2= failover-quic= failover-proxy= trusted= proxy-protocol= keepalive= t/timeout= limit-tunnels= limit-tunnels-per-address= limit-rate-per-address= limit-buffers= n/nofile= fast-open mptcp i/interface= b/source-address= 6/ipv6-first fwmark= c/config= loglevel= v/verbose access-log= access-log-format= metrics= metrics-public drain= a/user= f/pid-file= server client localAddr= localPort= remoteAddr= remotePort= V/android-vpn d/nameserver= reverse-proxy h/help
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

complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l route -d 'Another Shadowsocks server behind the same port. /PATH:HOST:PORT sends websocket, httpupgrade and obfs=http requests for this path to HOST:PORT. NAME:HOST:PORT does so for TLS clients that ask for this name of the certificate. The path is looked at first. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l proxy -d 'Reach the server through this proxy: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded. The proxy looks up the server\'s name. Default: no proxy; default port: 1080.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l mode -d 'The disguise, by v2ray-plugin\'s names: websocket, httpupgrade, quic or grpc. Client: Default: as obfs says. Server: websocket takes httpupgrade as well, and the other way round; quic listens on UDP alone. Default: auto, which takes every kind of client on one port (QUIC if quic is set, gRPC if serviceName is set).' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs -d 'The disguise, by simple-obfs\'s names: http is an HTTP upgrade, tls looks like a TLS session but is none, websocket (or ws) is the same as mode=websocket. Client: Default: http, or websocket if v2ray-plugin\'s options are given. Server: Several are separated by commas: http,tls. Default: as mode says.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l host -d 'Client: websocket, httpupgrade, grpc, quic: the name in the Host header and in the TLS hello. Default: cloudfront.com; with grpc without TLS, the server\'s address. Server: The name by which acme.sh\'s certificate is found. Requests for other names are taken, too.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l path -d 'websocket and httpupgrade: Client: the path of the request. Default: that of obfs-uri, or /. Server: take only requests for this path. Default: that of obfs-uri, or /.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs-host -d 'Client: obfs=http and obfs=tls: the name in the Host header or in the hello. Default: the server\'s own name. Server: Take only clients that ask for this name. Default: any name.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs-uri -d 'obfs=http: Client: the path of the request. Default: that of path, or /. Server: take only requests for this path. Default: that of path, or any path.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l obfs-tls-host -d 'obfs=tls: take only clients that ask for one of these names, separated by commas. With tls, no other clients of obfs=tls are taken: use names that the website does not have. Default: with tls none, otherwise as obfs-host says.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l http-method -d 'The method of the request, such as GET or POST. Client: The one to send. Default: GET. Server: The one to take. Default: GET.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l handshake -d 'obfs=http and httpupgrade: eager sends the first bytes together with the request, as simple-obfs does. standard sends them after the answer: one round trip more, and every proxy in front passes it. Default: eager; with httpupgrade standard.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l mux -d 'websocket and grpc: how many sessions share a connection (Mux.Cool). Client: 0 turns it off. Default: 1; with grpc 0. Server: No effect: a server takes clients with it and without.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l serviceName -l service-name -d 'grpc: the name of the service; with a leading slash, the whole path. Client: Default: GunService. Server: May be given several times. With mode=auto, gRPC is taken only if this is set. Default with mode=grpc: GunService.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l header -d 'websocket and httpupgrade: one more header of the request. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l user-agent -d 'websocket, httpupgrade and grpc: the User-Agent of the request. Default: that of Go, as in v2ray-plugin.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l tls -d 'TLS around websocket, httpupgrade or grpc. Client: Default: no TLS. Server: With mode=auto, clients with TLS and without are taken; tls=only takes none without. With another mode, none without are taken. Default: no TLS.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l cert -d 'Client: Certificates in PEM to trust beside the system\'s. Server: The certificate chain in PEM; it is read again when the file changes. Default: acme.sh\'s for host.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l key -d 'The private key of cert, in PEM; it is read again when the file changes. Default: acme.sh\'s for host.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l certRaw -l cert-raw -d 'One more certificate to trust: the text between the first and the last line of a PEM file.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l sni -l peer -d 'Client: The name in the TLS hello. Default: that of host. Server: NAME:HOST:PORT passes TLS for this name, or for all names below it (*.example.com), unopened to HOST:PORT. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l quic-congestion -d 'QUIC\'s congestion control: cubic, which goes by lost packets, or bbr, which goes by the rate of delivery and is experimental. Default: cubic.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover -l fallback -d 'The website behind the port: everything that is no tunnel goes there unchanged. HOST:PORT, or a built-in website: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER (one answer to everything). Default: answers like an nginx without a website.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS. With tls: for TLS with another name than the server\'s own, and for hellos that no client of ours sends. Default: as failover, if that is HOST:PORT; with tls none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-http -l fallback-http -d 'With tls: the website for visitors without TLS. Default: with mode=auto that of failover; otherwise that of failover-tls, or a page that says that this is a port for HTTPS.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-h2 -l fallback-h2 -d 'The website for HTTP/2, at a port that speaks HTTP/2 without TLS; same means the port of failover. With tls, HTTP/2 is then offered to visitors. Where grpc is taken without TLS, visitors with HTTP/2 go there, too. Default: HTTP/2 is offered only with mode=grpc.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-quic -l fallback-quic -d 'With mode=quic or quic: the website\'s HTTP/3, for QUIC with another name than the server\'s own and for QUIC that offers h3. Default: these get no answer.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l failover-proxy -l fallback-proxy -d 'Tell the websites each visitor\'s address in a PROXY header: v1 (text) or v2 (binary). The websites must expect it. Default: no header.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, separated by commas. They are believed when they say where a visitor comes from: in a PROXY header (proxy-protocol=in), and for the log in X-Forwarded-For. Default: none.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l proxy-protocol -d 'in: connections from the addresses in trusted must begin with a PROXY header, version 1 or 2, and are closed if they do not. Default: no header is expected.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l keepalive -l keep-alive -d 'websocket: send a ping before a connection has been silent for this time, so that no proxy ends it as idle. In seconds, 0 sends none. Default: 45.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s t -l timeout -d 'Close a tunnel after this time without data, in seconds. Default: 7200.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-tunnels -d 'The most tunnels at a time; with mux each session is one. A client over the limit waits for 5 s and then gets the website. Default: no limit.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-tunnels-per-address -d 'The most tunnels at a time for each address (IPv6: each network of 64 bits). Behind a proxy in trusted, the visitor\'s address counts. Default: no limit.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-rate-per-address -d 'The most new connections per second of an address that may become tunnels; twice as many at once. Visitors count and are not limited. Default: no limit.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l limit-buffers -d 'The most memory for data that waits for slow receivers, in MiB. Beyond it, no more is read for them. Default: a quarter of the memory.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s n -l nofile -d 'The most open files, connections among them. Default: as many as the system allows, but at most one for each 48 KiB of memory.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s i -l interface -d 'Dial through this network interface; connections within this machine are not affected. Default: the system chooses.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s b -l source-address -l bind-address -d 'Dial from this address of this machine, and only to addresses of its family. Default: the system chooses.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l fwmark -d 'Mark outgoing packets with this number (SO_MARK, Linux). Default: no mark.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s c -l config -d 'Read more options from this JSON file. What is given elsewhere wins.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l loglevel -d 'What to log: error, warning, info, debug or none. Default: info.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l access-log -d 'Write one line for each connection when it has ended, to stdout or to the end of a file; SIGHUP opens the file again. Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l access-log-format -d 'The form of these lines: json or text. Default: json.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l metrics -d 'Serve metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them: a loopback address (127.0.0.1:9180) or the path of a Unix socket (/run/obfs-rs.sock). Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l drain -d 'On SIGTERM, stop listening and let open tunnels go on for up to this time, in seconds, at most 86400; a second SIGTERM ends at once. Default: end at once.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s a -l user -d 'Once it listens, go on as this user, by name or number, with the user\'s groups. A second process keeps the right to read cert and key when they are renewed. Default: the user who starts it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s f -l pid-file -d 'Once it listens, write the process id to this file, go into the background and log to syslog. Under a Shadowsocks program, which watches its plugin, it stays in the foreground. Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l localAddr -l local-addr -d 'In place of SS_LOCAL_HOST; several hosts are separated by `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l localPort -l local-port -d 'In place of SS_LOCAL_PORT.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l remoteAddr -l remote-addr -d 'In place of SS_REMOTE_HOST; several hosts are separated by `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l remotePort -l remote-port -d 'In place of SS_REMOTE_PORT.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s d -l nameserver -d 'Has no effect, as in simple-obfs: names are looked up as the system does it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l version -d 'Print the version, the target and the features (also: -V alone).'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l udp -d 'websocket, quic and grpc: carry UDP, too. Both halves need it, and a Shadowsocks program that passes UDP to its plugin: shadowsocks-rust with plugin_mode=tcp_and_udp. Default: UDP does not go through the plugin.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l quic -d 'With mode=auto and tls: take QUIC, too, on the same port of UDP. (mode=quic takes QUIC alone.) Default: no QUIC.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open), where the system can. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l mptcp -d 'Use Multipath TCP between the halves, where the system can. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s 6 -l ipv6-first -d 'If a name has addresses of both families, try IPv6 first. Default: the system\'s order.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l metrics-public -d 'Allow an address for metrics that other machines can reach. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l server -d 'Be the server half.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l client -d 'Be the client half.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s V -l android-vpn -d 'Android: have each outgoing socket exempted from the VPN, through the socket protect_path in the working directory. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -l reverse-proxy -d 'Has no effect: the server always answers the upgrade at once.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -s h -l help -d 'Print help'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "client" -d 'The client half: takes plain connections, sends them disguised to a server half.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "server" -d 'The server half: takes disguised connections, passes all others on to a website.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "demo" -d 'Show on this machine that it works: website, server and client, 100 MB through them.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "check" -d 'Dry run: say what options ask for and what is odd, and try what they need.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "probe" -d 'Show whether visitors can tell a server from the website behind it: visit both, and compare.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "ready" -d 'Ask a half that runs whether it is ready: for a health check.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "share" -d 'Print what a server\'s users enter: the link, a QR code, and the configuration of each app.'
complete -c obfs-rs -n "__fish_obfs_rs_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l listen -d 'Listen here for plain connections. Default: SS_LOCAL_HOST and SS_LOCAL_PORT, which a Shadowsocks program sets.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l remote -d 'The address of the server half; several hosts are separated by `|`. Default: SS_REMOTE_HOST and SS_REMOTE_PORT.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l route -d 'Another Shadowsocks server behind the same port. /PATH:HOST:PORT sends websocket, httpupgrade and obfs=http requests for this path to HOST:PORT. NAME:HOST:PORT does so for TLS clients that ask for this name of the certificate. The path is looked at first. May be given several times. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l proxy -d 'Reach the server through this proxy: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded. The proxy looks up the server\'s name. Default: no proxy; default port: 1080. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l mode -d 'The disguise, by v2ray-plugin\'s names: websocket, httpupgrade, quic or grpc. Default: as obfs says.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs -d 'The disguise, by simple-obfs\'s names: http is an HTTP upgrade, tls looks like a TLS session but is none, websocket (or ws) is the same as mode=websocket. Default: http, or websocket if v2ray-plugin\'s options are given.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l host -d 'websocket, httpupgrade, grpc, quic: the name in the Host header and in the TLS hello. Default: cloudfront.com; with grpc without TLS, the server\'s address.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l path -d 'websocket and httpupgrade: the path of the request. Default: that of obfs-uri, or /.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs-host -d 'obfs=http and obfs=tls: the name in the Host header or in the hello. Default: the server\'s own name.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs-uri -d 'obfs=http: the path of the request. Default: that of path, or /.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l obfs-tls-host -d 'obfs=tls: take only clients that ask for one of these names, separated by commas. With tls, no other clients of obfs=tls are taken: use names that the website does not have. Default: with tls none, otherwise as obfs-host says. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l http-method -d 'The method of the request, such as GET or POST. The one to send. Default: GET.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l handshake -d 'obfs=http and httpupgrade: eager sends the first bytes together with the request, as simple-obfs does. standard sends them after the answer: one round trip more, and every proxy in front passes it. Default: eager; with httpupgrade standard. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l mux -d 'websocket and grpc: how many sessions share a connection (Mux.Cool). 0 turns it off. Default: 1; with grpc 0.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l serviceName -l service-name -d 'grpc: the name of the service; with a leading slash, the whole path. Default: GunService.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l header -d 'websocket and httpupgrade: one more header of the request. May be given several times. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l user-agent -d 'websocket, httpupgrade and grpc: the User-Agent of the request. Default: that of Go, as in v2ray-plugin. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l tls -d 'TLS around websocket, httpupgrade or grpc. Default: no TLS.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l cert -d 'Certificates in PEM to trust beside the system\'s.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l key -d 'The private key of cert, in PEM; it is read again when the file changes. Default: acme.sh\'s for host. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l certRaw -l cert-raw -d 'One more certificate to trust: the text between the first and the last line of a PEM file. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l sni -l peer -d 'The name in the TLS hello. Default: that of host.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l quic-congestion -d 'QUIC\'s congestion control: cubic, which goes by lost packets, or bbr, which goes by the rate of delivery and is experimental. Default: cubic.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover -l fallback -d 'The website behind the port: everything that is no tunnel goes there unchanged. HOST:PORT, or a built-in website: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER (one answer to everything). Default: answers like an nginx without a website. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS. With tls: for TLS with another name than the server\'s own, and for hellos that no client of ours sends. Default: as failover, if that is HOST:PORT; with tls none. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-http -l fallback-http -d 'With tls: the website for visitors without TLS. Default: with mode=auto that of failover; otherwise that of failover-tls, or a page that says that this is a port for HTTPS. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-h2 -l fallback-h2 -d 'The website for HTTP/2, at a port that speaks HTTP/2 without TLS; same means the port of failover. With tls, HTTP/2 is then offered to visitors. Where grpc is taken without TLS, visitors with HTTP/2 go there, too. Default: HTTP/2 is offered only with mode=grpc. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-quic -l fallback-quic -d 'With mode=quic or quic: the website\'s HTTP/3, for QUIC with another name than the server\'s own and for QUIC that offers h3. Default: these get no answer. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l failover-proxy -l fallback-proxy -d 'Tell the websites each visitor\'s address in a PROXY header: v1 (text) or v2 (binary). The websites must expect it. Default: no header. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, separated by commas. They are believed when they say where a visitor comes from: in a PROXY header (proxy-protocol=in), and for the log in X-Forwarded-For. Default: none. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l proxy-protocol -d 'in: connections from the addresses in trusted must begin with a PROXY header, version 1 or 2, and are closed if they do not. Default: no header is expected. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l keepalive -l keep-alive -d 'websocket: send a ping before a connection has been silent for this time, so that no proxy ends it as idle. In seconds, 0 sends none. Default: 45. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s t -l timeout -d 'Close a tunnel after this time without data, in seconds. Default: 7200.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-tunnels -d 'The most tunnels at a time; with mux each session is one. A client over the limit waits for 5 s and then gets the website. Default: no limit. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-tunnels-per-address -d 'The most tunnels at a time for each address (IPv6: each network of 64 bits). Behind a proxy in trusted, the visitor\'s address counts. Default: no limit. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-rate-per-address -d 'The most new connections per second of an address that may become tunnels; twice as many at once. Visitors count and are not limited. Default: no limit. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l limit-buffers -d 'The most memory for data that waits for slow receivers, in MiB. Beyond it, no more is read for them. Default: a quarter of the memory.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s n -l nofile -d 'The most open files, connections among them. Default: as many as the system allows, but at most one for each 48 KiB of memory.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s i -l interface -d 'Dial through this network interface; connections within this machine are not affected. Default: the system chooses.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s b -l source-address -l bind-address -d 'Dial from this address of this machine, and only to addresses of its family. Default: the system chooses.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l fwmark -d 'Mark outgoing packets with this number (SO_MARK, Linux). Default: no mark.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s c -l config -d 'Read more options from this JSON file. What is given elsewhere wins.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l loglevel -d 'What to log: error, warning, info, debug or none. Default: info.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l access-log -d 'Write one line for each connection when it has ended, to stdout or to the end of a file; SIGHUP opens the file again. Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l access-log-format -d 'The form of these lines: json or text. Default: json.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l metrics -d 'Serve metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them: a loopback address (127.0.0.1:9180) or the path of a Unix socket (/run/obfs-rs.sock). Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l drain -d 'On SIGTERM, stop listening and let open tunnels go on for up to this time, in seconds, at most 86400; a second SIGTERM ends at once. Default: end at once.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s a -l user -d 'Once it listens, go on as this user, by name or number, with the user\'s groups. A second process keeps the right to read cert and key when they are renewed. Default: the user who starts it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s f -l pid-file -d 'Once it listens, write the process id to this file, go into the background and log to syslog. Under a Shadowsocks program, which watches its plugin, it stays in the foreground. Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l localAddr -l local-addr -d 'In place of SS_LOCAL_HOST; several hosts are separated by `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l localPort -l local-port -d 'In place of SS_LOCAL_PORT.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l remoteAddr -l remote-addr -d 'In place of SS_REMOTE_HOST; several hosts are separated by `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l remotePort -l remote-port -d 'In place of SS_REMOTE_PORT.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s d -l nameserver -d 'Has no effect, as in simple-obfs: names are looked up as the system does it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l udp -d 'websocket, quic and grpc: carry UDP, too. Both halves need it, and a Shadowsocks program that passes UDP to its plugin: shadowsocks-rust with plugin_mode=tcp_and_udp. Default: UDP does not go through the plugin.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l quic -d 'With mode=auto and tls: take QUIC, too, on the same port of UDP. (mode=quic takes QUIC alone.) Default: no QUIC. [server only]'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open), where the system can. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l mptcp -d 'Use Multipath TCP between the halves, where the system can. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s 6 -l ipv6-first -d 'If a name has addresses of both families, try IPv6 first. Default: the system\'s order.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l metrics-public -d 'Allow an address for metrics that other machines can reach. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s V -l android-vpn -d 'Android: have each outgoing socket exempted from the VPN, through the socket protect_path in the working directory. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l reverse-proxy -d 'Has no effect: the server always answers the upgrade at once. [server only]'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -s h -d 'Print the options that are used most.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand client" -l help -d 'Print all options.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l listen -d 'Listen on this public address; several hosts are separated by `|`. Default: SS_REMOTE_HOST and SS_REMOTE_PORT, which a Shadowsocks program sets.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l backend -d 'The address of Shadowsocks. Default: SS_LOCAL_HOST and SS_LOCAL_PORT.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l route -d 'Another Shadowsocks server behind the same port. /PATH:HOST:PORT sends websocket, httpupgrade and obfs=http requests for this path to HOST:PORT. NAME:HOST:PORT does so for TLS clients that ask for this name of the certificate. The path is looked at first. May be given several times. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l proxy -d 'Reach the server through this proxy: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded. The proxy looks up the server\'s name. Default: no proxy; default port: 1080. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l mode -d 'The disguise, by v2ray-plugin\'s names: websocket, httpupgrade, quic or grpc. websocket takes httpupgrade as well, and the other way round; quic listens on UDP alone. Default: auto, which takes every kind of client on one port (QUIC if quic is set, gRPC if serviceName is set).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs -d 'The disguise, by simple-obfs\'s names: http is an HTTP upgrade, tls looks like a TLS session but is none, websocket (or ws) is the same as mode=websocket. Several are separated by commas: http,tls. Default: as mode says.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l host -d 'The name by which acme.sh\'s certificate is found. Requests for other names are taken, too.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l path -d 'websocket and httpupgrade: take only requests for this path. Default: that of obfs-uri, or /.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs-host -d 'Take only clients that ask for this name. Default: any name.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs-uri -d 'obfs=http: take only requests for this path. Default: that of path, or any path.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l obfs-tls-host -d 'obfs=tls: take only clients that ask for one of these names, separated by commas. With tls, no other clients of obfs=tls are taken: use names that the website does not have. Default: with tls none, otherwise as obfs-host says. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l http-method -d 'The method of the request, such as GET or POST. The one to take. Default: GET.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l handshake -d 'obfs=http and httpupgrade: eager sends the first bytes together with the request, as simple-obfs does. standard sends them after the answer: one round trip more, and every proxy in front passes it. Default: eager; with httpupgrade standard. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l mux -d 'websocket and grpc: how many sessions share a connection (Mux.Cool). No effect: a server takes clients with it and without.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l serviceName -l service-name -d 'grpc: the name of the service; with a leading slash, the whole path. May be given several times. With mode=auto, gRPC is taken only if this is set. Default with mode=grpc: GunService.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l header -d 'websocket and httpupgrade: one more header of the request. May be given several times. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l user-agent -d 'websocket, httpupgrade and grpc: the User-Agent of the request. Default: that of Go, as in v2ray-plugin. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l tls -d 'TLS around websocket, httpupgrade or grpc. With mode=auto, clients with TLS and without are taken; tls=only takes none without. With another mode, none without are taken. Default: no TLS.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l cert -d 'The certificate chain in PEM; it is read again when the file changes. Default: acme.sh\'s for host.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l key -d 'The private key of cert, in PEM; it is read again when the file changes. Default: acme.sh\'s for host. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l certRaw -l cert-raw -d 'One more certificate to trust: the text between the first and the last line of a PEM file. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l sni -l peer -d 'NAME:HOST:PORT passes TLS for this name, or for all names below it (*.example.com), unopened to HOST:PORT. May be given several times.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l quic-congestion -d 'QUIC\'s congestion control: cubic, which goes by lost packets, or bbr, which goes by the rate of delivery and is experimental. Default: cubic.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover -l fallback -d 'The website behind the port: everything that is no tunnel goes there unchanged. HOST:PORT, or a built-in website: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER (one answer to everything). Default: answers like an nginx without a website. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS. With tls: for TLS with another name than the server\'s own, and for hellos that no client of ours sends. Default: as failover, if that is HOST:PORT; with tls none. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-http -l fallback-http -d 'With tls: the website for visitors without TLS. Default: with mode=auto that of failover; otherwise that of failover-tls, or a page that says that this is a port for HTTPS. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-h2 -l fallback-h2 -d 'The website for HTTP/2, at a port that speaks HTTP/2 without TLS; same means the port of failover. With tls, HTTP/2 is then offered to visitors. Where grpc is taken without TLS, visitors with HTTP/2 go there, too. Default: HTTP/2 is offered only with mode=grpc. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-quic -l fallback-quic -d 'With mode=quic or quic: the website\'s HTTP/3, for QUIC with another name than the server\'s own and for QUIC that offers h3. Default: these get no answer. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l failover-proxy -l fallback-proxy -d 'Tell the websites each visitor\'s address in a PROXY header: v1 (text) or v2 (binary). The websites must expect it. Default: no header. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, separated by commas. They are believed when they say where a visitor comes from: in a PROXY header (proxy-protocol=in), and for the log in X-Forwarded-For. Default: none. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l proxy-protocol -d 'in: connections from the addresses in trusted must begin with a PROXY header, version 1 or 2, and are closed if they do not. Default: no header is expected. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l keepalive -l keep-alive -d 'websocket: send a ping before a connection has been silent for this time, so that no proxy ends it as idle. In seconds, 0 sends none. Default: 45. [client only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s t -l timeout -d 'Close a tunnel after this time without data, in seconds. Default: 7200.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-tunnels -d 'The most tunnels at a time; with mux each session is one. A client over the limit waits for 5 s and then gets the website. Default: no limit. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-tunnels-per-address -d 'The most tunnels at a time for each address (IPv6: each network of 64 bits). Behind a proxy in trusted, the visitor\'s address counts. Default: no limit. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-rate-per-address -d 'The most new connections per second of an address that may become tunnels; twice as many at once. Visitors count and are not limited. Default: no limit. [server only]' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l limit-buffers -d 'The most memory for data that waits for slow receivers, in MiB. Beyond it, no more is read for them. Default: a quarter of the memory.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s n -l nofile -d 'The most open files, connections among them. Default: as many as the system allows, but at most one for each 48 KiB of memory.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s i -l interface -d 'Dial through this network interface; connections within this machine are not affected. Default: the system chooses.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s b -l source-address -l bind-address -d 'Dial from this address of this machine, and only to addresses of its family. Default: the system chooses.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l fwmark -d 'Mark outgoing packets with this number (SO_MARK, Linux). Default: no mark.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s c -l config -d 'Read more options from this JSON file. What is given elsewhere wins.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l loglevel -d 'What to log: error, warning, info, debug or none. Default: info.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l access-log -d 'Write one line for each connection when it has ended, to stdout or to the end of a file; SIGHUP opens the file again. Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l access-log-format -d 'The form of these lines: json or text. Default: json.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l metrics -d 'Serve metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them: a loopback address (127.0.0.1:9180) or the path of a Unix socket (/run/obfs-rs.sock). Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l drain -d 'On SIGTERM, stop listening and let open tunnels go on for up to this time, in seconds, at most 86400; a second SIGTERM ends at once. Default: end at once.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s a -l user -d 'Once it listens, go on as this user, by name or number, with the user\'s groups. A second process keeps the right to read cert and key when they are renewed. Default: the user who starts it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s f -l pid-file -d 'Once it listens, write the process id to this file, go into the background and log to syslog. Under a Shadowsocks program, which watches its plugin, it stays in the foreground. Default: off.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l localAddr -l local-addr -d 'In place of SS_LOCAL_HOST; several hosts are separated by `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l localPort -l local-port -d 'In place of SS_LOCAL_PORT.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l remoteAddr -l remote-addr -d 'In place of SS_REMOTE_HOST; several hosts are separated by `|`.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l remotePort -l remote-port -d 'In place of SS_REMOTE_PORT.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s d -l nameserver -d 'Has no effect, as in simple-obfs: names are looked up as the system does it.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l udp -d 'websocket, quic and grpc: carry UDP, too. Both halves need it, and a Shadowsocks program that passes UDP to its plugin: shadowsocks-rust with plugin_mode=tcp_and_udp. Default: UDP does not go through the plugin.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l quic -d 'With mode=auto and tls: take QUIC, too, on the same port of UDP. (mode=quic takes QUIC alone.) Default: no QUIC. [server only]'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open), where the system can. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l mptcp -d 'Use Multipath TCP between the halves, where the system can. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s 6 -l ipv6-first -d 'If a name has addresses of both families, try IPv6 first. Default: the system\'s order.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l metrics-public -d 'Allow an address for metrics that other machines can reach. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s V -l android-vpn -d 'Android: have each outgoing socket exempted from the VPN, through the socket protect_path in the working directory. Default: off.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l reverse-proxy -d 'Has no effect: the server always answers the upgrade at once. [server only]'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -s h -d 'Print the options that are used most.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand server" -l help -d 'Print all options.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand demo" -l stay -d 'Then go on, so that a browser can look at the website behind the server; Enter ends it, and so does the end of standard input.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand demo" -s h -l help -d 'Print help'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand check" -s c -l config -d 'The configuration file of the Shadowsocks program: its plugin_opts, server and server_port count.' -r -F
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
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -s c -l config -d 'The configuration of the Shadowsocks server; - is standard input.' -r -F
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l host -l server -d 'The name or address that clients connect to.' -r -f -a "(__fish_print_hostnames)"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l port -d 'The port that clients connect to.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l method -d 'Shadowsocks\'s method.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l password -d 'Shadowsocks\'s password: everybody on this machine sees it here.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l password-file -d 'A file with the password on its first line; - is standard input.' -r -F
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l name -d 'What users see in their lists (default: the host).' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l disguise -d 'Of the disguises that the server takes, only this one.' -r -f -a "websocket\t''
httpupgrade\t''
http\t''
tls\t''
quic\t''
grpc\t''"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l route -d 'For the users of a route: its path, or its name.' -r
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l format -d 'Print this alone (default: all; the QR code only on a terminal).' -r -f -a "all\t''
link\t''
qr\t''
json\t''
mihomo\t''
sing-box\t''
surge\t''
quantumult-x\t''"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l plugin -d 'The client\'s plugin in links and JSON (default: obfs-rs in JSON).' -r -f -a "obfs-rs\t''
obfs-local\t''
v2ray-plugin\t''"
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -l tls -d 'TLS ends in front of the server, at a web server or a CDN; --port is the port there.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand share" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "client" -d 'The client half: takes plain connections, sends them disguised to a server half.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "server" -d 'The server half: takes disguised connections, passes all others on to a website.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "demo" -d 'Show on this machine that it works: website, server and client, 100 MB through them.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "check" -d 'Dry run: say what options ask for and what is odd, and try what they need.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "probe" -d 'Show whether visitors can tell a server from the website behind it: visit both, and compare.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "ready" -d 'Ask a half that runs whether it is ready: for a health check.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "share" -d 'Print what a server\'s users enter: the link, a QR code, and the configuration of each app.'
complete -c obfs-rs -n "__fish_obfs_rs_using_subcommand help; and not __fish_seen_subcommand_from client server demo check probe ready share help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
