complete -c obfs-local -s s -d 'The server\'s name or address; may be given several times.' -r
complete -c obfs-local -s p -d 'The server\'s port.' -r
complete -c obfs-local -s l -d 'Listen on this port.' -r
complete -c obfs-local -s b -d 'Listen on this address (default: 127.0.0.1).' -r
complete -c obfs-local -l route -d 'Another Shadowsocks server behind the same port. /PATH:HOST:PORT sends websocket, httpupgrade and obfs=http requests for this path to HOST:PORT. NAME:HOST:PORT does so for TLS clients that ask for this name of the certificate. The path is looked at first. May be given several times. [server only]' -r
complete -c obfs-local -l proxy -d 'Reach the server through this proxy: socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded. The proxy looks up the server\'s name. Default: no proxy; default port: 1080. [client only]' -r
complete -c obfs-local -l mode -d 'The disguise, by v2ray-plugin\'s names: websocket, httpupgrade, quic or grpc. Default: as obfs says.' -r
complete -c obfs-local -l obfs -d 'The disguise, by simple-obfs\'s names: http is an HTTP upgrade, tls looks like a TLS session but is none, websocket (or ws) is the same as mode=websocket. Default: http, or websocket if v2ray-plugin\'s options are given.' -r
complete -c obfs-local -l host -d 'websocket, httpupgrade, grpc, quic: the name in the Host header and in the TLS hello. Default: cloudfront.com; with grpc without TLS, the server\'s address.' -r
complete -c obfs-local -l path -d 'websocket and httpupgrade: the path of the request. Default: that of obfs-uri, or /.' -r
complete -c obfs-local -l obfs-host -d 'obfs=http and obfs=tls: the name in the Host header or in the hello. Default: the server\'s own name.' -r
complete -c obfs-local -l obfs-uri -d 'obfs=http: the path of the request. Default: that of path, or /.' -r
complete -c obfs-local -l obfs-tls-host -d 'obfs=tls: take only clients that ask for one of these names, separated by commas. With tls, no other clients of obfs=tls are taken: use names that the website does not have. Default: with tls none, otherwise as obfs-host says. [server only]' -r
complete -c obfs-local -l http-method -d 'The method of the request, such as GET or POST. The one to send. Default: GET.' -r
complete -c obfs-local -l handshake -d 'obfs=http and httpupgrade: eager sends the first bytes together with the request, as simple-obfs does. standard sends them after the answer: one round trip more, and every proxy in front passes it. Default: eager; with httpupgrade standard. [client only]' -r
complete -c obfs-local -l mux -d 'websocket and grpc: how many sessions share a connection (Mux.Cool). 0 turns it off. Default: 1; with grpc 0.' -r
complete -c obfs-local -l serviceName -l service-name -d 'grpc: the name of the service; with a leading slash, the whole path. Default: GunService.' -r
complete -c obfs-local -l header -d 'websocket and httpupgrade: one more header of the request. May be given several times. [client only]' -r
complete -c obfs-local -l user-agent -d 'websocket, httpupgrade and grpc: the User-Agent of the request. Default: that of Go, as in v2ray-plugin. [client only]' -r
complete -c obfs-local -l tls -d 'TLS around websocket, httpupgrade or grpc. Default: no TLS.' -r
complete -c obfs-local -l cert -d 'Certificates in PEM to trust beside the system\'s.' -r
complete -c obfs-local -l key -d 'The private key of cert, in PEM; it is read again when the file changes. Default: acme.sh\'s for host. [server only]' -r
complete -c obfs-local -l certRaw -l cert-raw -d 'One more certificate to trust: the text between the first and the last line of a PEM file. [client only]' -r
complete -c obfs-local -l sni -l peer -d 'The name in the TLS hello. Default: that of host.' -r
complete -c obfs-local -l quic-congestion -d 'QUIC\'s congestion control: cubic, which goes by lost packets, or bbr, which goes by the rate of delivery and is experimental. Default: cubic.' -r
complete -c obfs-local -l failover -l fallback -d 'The website behind the port: everything that is no tunnel goes there unchanged. HOST:PORT, or a built-in website: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER (one answer to everything). Default: answers like an nginx without a website. [server only]' -r
complete -c obfs-local -l failover-tls -l fallback-tls -d 'The website for visitors who speak TLS. With tls: for TLS with another name than the server\'s own, and for hellos that no client of ours sends. Default: as failover, if that is HOST:PORT; with tls none. [server only]' -r
complete -c obfs-local -l failover-http -l fallback-http -d 'With tls: the website for visitors without TLS. Default: with mode=auto that of failover; otherwise that of failover-tls, or a page that says that this is a port for HTTPS. [server only]' -r
complete -c obfs-local -l failover-h2 -l fallback-h2 -d 'The website for HTTP/2, at a port that speaks HTTP/2 without TLS; same means the port of failover. With tls, HTTP/2 is then offered to visitors. Where grpc is taken without TLS, visitors with HTTP/2 go there, too. Default: HTTP/2 is offered only with mode=grpc. [server only]' -r
complete -c obfs-local -l failover-quic -l fallback-quic -d 'With mode=quic or quic: the website\'s HTTP/3, for QUIC with another name than the server\'s own and for QUIC that offers h3. Default: these get no answer. [server only]' -r
complete -c obfs-local -l failover-proxy -l fallback-proxy -d 'Tell the websites each visitor\'s address in a PROXY header: v1 (text) or v2 (binary). The websites must expect it. Default: no header. [server only]' -r
complete -c obfs-local -l trusted -d 'The proxies in front, ADDRESS or ADDRESS/PREFIX, separated by commas. They are believed when they say where a visitor comes from: in a PROXY header (proxy-protocol=in), and for the log in X-Forwarded-For. Default: none. [server only]' -r
complete -c obfs-local -l proxy-protocol -d 'in: connections from the addresses in trusted must begin with a PROXY header, version 1 or 2, and are closed if they do not. Default: no header is expected. [server only]' -r
complete -c obfs-local -l keepalive -l keep-alive -d 'websocket: send a ping before a connection has been silent for this time, so that no proxy ends it as idle. In seconds, 0 sends none. Default: 45. [client only]' -r
complete -c obfs-local -s t -l timeout -d 'Close a tunnel after this time without data, in seconds. Default: 7200.' -r
complete -c obfs-local -l limit-tunnels -d 'The most tunnels at a time; with mux each session is one. A client over the limit waits for 5 s and then gets the website. Default: no limit. [server only]' -r
complete -c obfs-local -l limit-tunnels-per-address -d 'The most tunnels at a time for each address (IPv6: each network of 64 bits). Behind a proxy in trusted, the visitor\'s address counts. Default: no limit. [server only]' -r
complete -c obfs-local -l limit-rate-per-address -d 'The most new connections per second of an address that may become tunnels; twice as many at once. Visitors count and are not limited. Default: no limit. [server only]' -r
complete -c obfs-local -l limit-buffers -d 'The most memory for data that waits for slow receivers, in MiB. Beyond it, no more is read for them. Default: a quarter of the memory.' -r
complete -c obfs-local -s n -l nofile -d 'The most open files, connections among them. Default: as many as the system allows, but at most one for each 48 KiB of memory.' -r
complete -c obfs-local -s i -l interface -d 'Dial through this network interface; connections within this machine are not affected. Default: the system chooses.' -r
complete -c obfs-local -l source-address -l bind-address -d 'Dial from this address of this machine, and only to addresses of its family. Default: the system chooses.' -r
complete -c obfs-local -l fwmark -d 'Mark outgoing packets with this number (SO_MARK, Linux). Default: no mark.' -r
complete -c obfs-local -s c -l config -d 'Read more options from this JSON file. What is given elsewhere wins.' -r
complete -c obfs-local -l loglevel -d 'What to log: error, warning, info, debug or none. Default: info.' -r
complete -c obfs-local -l access-log -d 'Write one line for each connection when it has ended, to stdout or to the end of a file; SIGHUP opens the file again. Default: off.' -r
complete -c obfs-local -l access-log-format -d 'The form of these lines: json or text. Default: json.' -r
complete -c obfs-local -l metrics -d 'Serve metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them: a loopback address (127.0.0.1:9180) or the path of a Unix socket (/run/obfs-rs.sock). Default: off.' -r
complete -c obfs-local -l drain -d 'On SIGTERM, stop listening and let open tunnels go on for up to this time, in seconds, at most 86400; a second SIGTERM ends at once. Default: end at once.' -r
complete -c obfs-local -s a -l user -d 'Once it listens, go on as this user, by name or number, with the user\'s groups. A second process keeps the right to read cert and key when they are renewed. Default: the user who starts it.' -r
complete -c obfs-local -s f -l pid-file -d 'Once it listens, write the process id to this file, go into the background and log to syslog. Under a Shadowsocks program, which watches its plugin, it stays in the foreground. Default: off.' -r
complete -c obfs-local -l localAddr -l local-addr -d 'In place of SS_LOCAL_HOST; several hosts are separated by `|`.' -r
complete -c obfs-local -l localPort -l local-port -d 'In place of SS_LOCAL_PORT.' -r
complete -c obfs-local -l remoteAddr -l remote-addr -d 'In place of SS_REMOTE_HOST; several hosts are separated by `|`.' -r
complete -c obfs-local -l remotePort -l remote-port -d 'In place of SS_REMOTE_PORT.' -r
complete -c obfs-local -s d -l nameserver -d 'Has no effect, as in simple-obfs: names are looked up as the system does it.' -r
complete -c obfs-local -l version -d 'Print the version.'
complete -c obfs-local -l udp -d 'websocket, quic and grpc: carry UDP, too. Both halves need it, and a Shadowsocks program that passes UDP to its plugin: shadowsocks-rust with plugin_mode=tcp_and_udp. Default: UDP does not go through the plugin.'
complete -c obfs-local -l quic -d 'With mode=auto and tls: take QUIC, too, on the same port of UDP. (mode=quic takes QUIC alone.) Default: no QUIC. [server only]'
complete -c obfs-local -l fast-open -l fastOpen -l tfo -d 'Send and take the first bytes with the SYN (TCP Fast Open), where the system can. Default: off.'
complete -c obfs-local -l mptcp -d 'Use Multipath TCP between the halves, where the system can. Default: off.'
complete -c obfs-local -s 6 -l ipv6-first -d 'If a name has addresses of both families, try IPv6 first. Default: the system\'s order.'
complete -c obfs-local -s v -l verbose -d 'The same as loglevel=debug.'
complete -c obfs-local -l metrics-public -d 'Allow an address for metrics that other machines can reach. Default: off.'
complete -c obfs-local -s V -l android-vpn -d 'Android: have each outgoing socket exempted from the VPN, through the socket protect_path in the working directory. Default: off.'
complete -c obfs-local -l reverse-proxy -d 'Has no effect: the server always answers the upgrade at once. [server only]'
complete -c obfs-local -s h -d 'Print the options that are used most.'
complete -c obfs-local -l help -d 'Print all options.'
