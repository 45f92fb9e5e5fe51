# Networks: `lan` has an address, `wan6` one of IPv6 alone, every other none.
network_flush_cache() { :; }
network_get_ipaddr() {
	[ "$2" = lan ] && eval "$1=127.0.0.2"
}
network_get_ipaddr6() {
	[ "$2" = wan6 ] && eval "$1=::1"
}
