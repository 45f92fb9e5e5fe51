complete -c obfs-local -s s -d 'The server\'s name or address; may be given several times.' -r
complete -c obfs-local -s p -d 'The server\'s port.' -r
complete -c obfs-local -s l -d 'Listen on this port.' -r
complete -c obfs-local -s b -d 'Listen on this address (default: 127.0.0.1).' -r
complete -c obfs-local -l obfs -d 'What the connections look like: http (a client\'s default), an HTTP upgrade, or tls, a look-alike of a TLS session, both as simple-obfs makes them; websocket (or ws) is mode=websocket. A server may take both: http,tls.' -r
complete -c obfs-local -l mode -d 'websocket or quic, as v2ray-plugin makes them, httpupgrade, as v2ray and xray have it, or grpc, as its fork has it; a server takes both websocket and httpupgrade where it takes one. A server\'s default is auto: every kind of client on one port, quic among them where the option quic is set.' -r
complete -c obfs-local -l host -d 'The name in the Host header and in the TLS hello (default: cloudfront.com).' -r
complete -c obfs-local -l sni -l peer -d 'The name in the TLS hello, where it is not that of host.' -r
complete -c obfs-local -l tls -d 'TLS around WebSocket or HTTPUpgrade; a server with mode=websocket or mode=httpupgrade then takes nothing in the clear. With mode=auto, also where that is the default, it takes both; with tls=only, nothing in the clear either.' -r
complete -c obfs-local -l quic-congestion -d 'With QUIC: how fast to send, cubic (the default) by what is lost, or bbr by what arrives, which is experimental.' -r
complete -c obfs-local -l cert -d 'Certificates in PEM to be trusted beside the system\'s.' -r
complete -c obfs-local -l certRaw -l cert-raw -d 'The same as cert, as the text between the lines of a PEM file.' -r
complete -c obfs-local -l key -d 'The certificate\'s key, in PEM (default: acme.sh\'s for host).' -r
complete -c obfs-local -l mux -d 'WebSocket and gRPC client: so many sessions share a connection, or a stream of one (default: 1, with gRPC 0); 0 is no Mux.Cool. A server always takes both.' -r
complete -c obfs-local -l serviceName -l service-name -d 'gRPC: the service that a client asks for, and that a server takes (default: GunService); with a leading slash, a whole path. A server may be given several, and takes gRPC beside every other kind of client where one is given.' -r
complete -c obfs-local -l header -d 'WebSocket and HTTPUpgrade client: one more header of the request; may be given several times.' -r
complete -c obfs-local -l user-agent -d 'WebSocket and HTTPUpgrade client: what the request\'s User-Agent says (default: Go-http-client/1.1).' -r
complete -c obfs-local -l proxy -d 'Reach the server through a proxy, which looks its name up: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded (default port: 1080).' -r
complete -c obfs-local -l keepalive -l keep-alive -d 'WebSocket client: send a ping on a connection on which nothing was sent, or nothing has come, for nearly so long, for proxies in front that end idle ones (default: 45); 0 sends none.' -r
complete -c obfs-local -l fwmark -d 'Mark outgoing packets (SO_MARK on Linux).' -r
complete -c obfs-local -l localAddr -l local-addr -d 'In SS_LOCAL_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-local -l localPort -l local-port -d 'In SS_LOCAL_PORT\'s place.' -r
complete -c obfs-local -l remoteAddr -l remote-addr -d 'In SS_REMOTE_HOST\'s place; several hosts with `|`.' -r
complete -c obfs-local -l remotePort -l remote-port -d 'In SS_REMOTE_PORT\'s place.' -r
complete -c obfs-local -l obfs-host -d 'The name in the Host header or in the TLS hello (default: the remote\'s own name).' -r
complete -c obfs-local -l obfs-tls-host -d 'Take the hellos of obfs=tls for these names alone, several with a comma. With tls they are taken for no others: who asks for one of these names finds the tunnel, so it is to be none of the website\'s.' -r
complete -c obfs-local -l obfs-uri -d 'The path of the request (default: that of path, or /).' -r
complete -c obfs-local -l path -d 'The same for WebSocket and HTTPUpgrade (default: that of obfs-uri, or /).' -r
complete -c obfs-local -l route -d '/PATH:HOST:PORT: requests for this path, of WebSocket, HTTPUpgrade and obfs=http, go to the Shadowsocks server at HOST:PORT. NAME:HOST:PORT: so do clients with TLS whose hello asks for this name, which is one of the certificate\'s; the path goes before the name. May be given several times.' -r
complete -c obfs-local -l http-method -d 'The method of the request that is sent, or taken (default: GET).' -r
complete -c obfs-local -l handshake -d 'eager: the first bytes travel with the request, as simple-obfs sends them (default). standard: they wait for the answer, which costs a round trip and passes every front proxy.' -r
complete -c obfs-local -l failover -l fallback -d 'The website behind the server: whatever is not a tunnel goes there, untouched. HOST:PORT, or one that is served from here, as nginx would: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER for everything.' -r
complete -c obfs-local -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS, where it is another one than failover. With tls: where TLS goes that is not for the server\'s own name, or that no client of ours would speak. Always an address.' -r
complete -c obfs-local -l failover-http -l fallback-http -d 'With tls: the website for visitors who come without TLS (default: with mode=auto that of failover; else failover-tls, or a page that says that this is a port for HTTPS).' -r
complete -c obfs-local -l failover-h2 -l fallback-h2 -d 'With tls: offer HTTP/2 to visitors, and hand those who take it to this port, which speaks HTTP/2 in the clear; `same` is the port of failover. Where gRPC is taken in the clear: visitors who speak HTTP/2 there go there, too.' -r
complete -c obfs-local -l failover-quic -l fallback-quic -d 'With mode=quic, or quic: the website\'s HTTP/3, to which every QUIC connection goes that is not for the server\'s own name, or that offers the protocol h3. Without it, nobody answers these.' -r
complete -c obfs-local -l failover-proxy -l fallback-proxy -d 'Tell the websites with a PROXY header who came: v1, a line of text, or v2, binary. They must expect one.' -r
complete -c obfs-local -l proxy-protocol -d 'in: connections from the addresses in trusted begin with a PROXY header, version 1 or 2, that says where the visitor came from; without one they are closed.' -r
complete -c obfs-local -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, several with a comma: their word is taken about where a visitor came from, by proxy-protocol and, for the log, in X-Forwarded-For.' -r
complete -c obfs-local -l limit-tunnels -d 'The most tunnels that are open at a time; with mux each session is one. A client too many waits for 5 s and then meets the website (default: no limit).' -r
complete -c obfs-local -l limit-tunnels-per-address -d 'The same for each address, of IPv6 for each network of 64 bits; behind a proxy in trusted the visitor\'s own.' -r
complete -c obfs-local -l limit-rate-per-address -d 'The new connections of an address in a second that may become tunnels, and at once as many as in two seconds. Visitors count and are not limited.' -r
complete -c obfs-local -l limit-buffers -d 'The most that waits in the process, in MiB, for those who do not take it; beyond it nothing more is read for them (default: a quarter of the memory).' -r
complete -c obfs-local -s t -l timeout -d 'End a tunnel on which nothing moved for so long (default: 7200).' -r
complete -c obfs-local -s i -l interface -d 'Send what is dialled out of this network interface (not what stays on this machine).' -r
complete -c obfs-local -l source-address -l bind-address -d 'Dial from this address of this machine; only addresses of its family are dialled then.' -r
complete -c obfs-local -s d -l nameserver -d 'Taken for old configurations and not followed, as simple-obfs does not follow it: names are looked up the way the system is set up. A line in the log says so.' -r
complete -c obfs-local -s c -l config -d 'Read options from this JSON file, with the names they have here or in simple-obfs. Options and variables that are given otherwise win.' -r
complete -c obfs-local -s a -l user -d 'Once it listens, go on as this user (name or number) with the user\'s groups. A second process keeps the right to read cert and key, for their renewal.' -r
complete -c obfs-local -s f -l pid-file -d 'Once it listens, write the process id into this file and go on in the background, logging to syslog; under a Shadowsocks program, which watches its plugin, in the foreground.' -r
complete -c obfs-local -s n -l nofile -d 'The most files and connections that may be open (default: as many as the system allows, and one for each 48 KiB of memory).' -r
complete -c obfs-local -l drain -d 'On SIGTERM, close the port and let open tunnels go on until they end, for up to so long (at most 86400); a second SIGTERM ends at once. Default: all end with the first.' -r
complete -c obfs-local -l loglevel -d 'What is logged: error, warning, info (default), debug or none.' -r
complete -c obfs-local -l access-log -d 'A line for each connection when it has ended, at the end of the file; SIGHUP opens it anew.' -r
complete -c obfs-local -l access-log-format -d 'How these lines look: json (default) or text.' -r
complete -c obfs-local -l metrics -d 'Metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them (default: none). An address of this machine for itself (127.0.0.1:9180), or the path of a Unix socket (/run/obfs-rs.sock).' -r
complete -c obfs-local -l version -d 'Print the version.'
complete -c obfs-local -l quic -d 'With mode=auto and tls: take QUIC as well, on UDP of the same port. (mode=quic takes it alone, and leaves TCP of the port to others.)'
complete -c obfs-local -l reverse-proxy -d 'Answer the upgrade at once, as proxies in front need it. The server always does; taken for old configurations.'
complete -c obfs-local -l udp -d 'Carry UDP, too, in mode=websocket, quic or grpc: a client takes it at its local port, a server sends it to Shadowsocks\'s. For hosts that pass it through plugins: shadowsocks-rust with plugin_mode=tcp_and_udp (or udp_only). Both halves need it; v2ray-plugin\'s server has it already.'
complete -c obfs-local -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open) where the system has it.'
complete -c obfs-local -l mptcp -d 'Use Multipath TCP between the halves where the system has it, TCP where it has not.'
complete -c obfs-local -s 6 -l ipv6-first -d 'Of a name\'s addresses, try IPv6 first (default: the order of the system).'
complete -c obfs-local -s V -l android-vpn -d 'On Android: have every socket exempted from the VPN before it dials, by whoever listens on protect_path in the working directory.'
complete -c obfs-local -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-local -l metrics-public -d 'Take an address for metrics that others reach, too.'
complete -c obfs-local -s h -l help -d 'Print help'
