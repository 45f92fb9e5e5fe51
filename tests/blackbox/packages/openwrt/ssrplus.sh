# What ssr-plus does with a plugin: `sh ssrplus.sh SSLOCAL SETTINGS PLUGIN STOP`. It stops when the file STOP is there.
sslocal=$1 settings=$2 plugin=$3 stop=$4

# The shell that it is written for finds programs so.
echo "found $(type -t -p "$plugin" | "$busybox" head -n 1)"
ulimit -n 4096
"$sslocal" -c "$settings" >/dev/null 2>&1 &

until [ -e "$stop" ]; do
	"$busybox" sleep 0.05
done
echo "before: $("$busybox" pidof "$plugin")"
"$busybox" killall -q -9 v2ray-plugin obfs-local xray-plugin shadow-tls
# Its host, which is asked to end because of that, may be a moment slower than this.
remaining=100
while "$busybox" pidof "$plugin" >/dev/null && [ "$remaining" -gt 0 ]; do
	remaining=$((remaining - 1))
	"$busybox" sleep 0.05
done
echo "after:$("$busybox" pidof "$plugin")"
kill -9 $! 2>/dev/null
exit 0
