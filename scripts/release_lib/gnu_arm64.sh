# shellcheck shell=bash
# The dynamically linked program for Debian's arm64, built on amd64; sourced by what builds.
#
# Debian has no source of Rust's standard library for glibc that could be built without a cross compiler, but the built
# one: libstd-rust-web-dev of arm64, of the same version as rustc-web. It is unpacked, not installed, so nothing of the
# system is changed and no foreign architecture is added to dpkg. zig (cargo-zigbuild in PATH) links.

# The oldest glibc that the program may ask for: that of Debian 12.
gnu_arm64_glibc=2.36

# Fetches packages of arm64 and unpacks them: gnu_arm64_unpack FOLDER PACKAGE...
gnu_arm64_unpack() {
    local folder=$1 package
    shift
    # apt with lists of its own, in which arm64 is the one architecture.
    local apt=$folder/apt root=$folder/root
    mkdir -p "$apt/state" "$apt/lists/partial" "$apt/archives/partial" "$root"
    : >"$apt/state/status"
    cat >"$apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt";
END
    APT_CONFIG=$apt/apt.conf apt-get -qq update || return
    for package in "$@"; do
        (cd "$apt/archives" && APT_CONFIG=$apt/apt.conf apt-get -qq download "$package") || return
        dpkg-deb -x "$apt/archives/${package%%=*}"_*_arm64.deb "$root" || return
    done
    rm -rf "$apt"
}

# Prints the version of an installed package.
gnu_arm64_version() {
    dpkg-query -W -f '${Version}' "$1"
}

# Builds it, and prints where it is: gnu_arm64 FOLDER [cargo's arguments]. FOLDER keeps the standard library, and what is
# built. RUSTFLAGS are added to.
gnu_arm64() {
    local folder version sysroot target=aarch64-unknown-linux-gnu
    folder=$(realpath -m "$1")
    shift
    version=$(gnu_arm64_version libstd-rust-web-dev) || return
    sysroot=$folder/std-$version
    if [ ! -d "$sysroot" ]; then
        rm -rf "$folder/std"
        gnu_arm64_unpack "$folder/std" "libstd-rust-web-dev=$version" >&2 || return
        # Whole from here on.
        mv "$folder/std" "$sysroot" || return
    fi
    # With --target, these flags are not those of what runs while it is built.
    RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo CARGO_TARGET_DIR=$folder/target \
        RUSTFLAGS="${RUSTFLAGS:-} --sysroot=$sysroot/root/usr" \
        cargo-zigbuild zigbuild --release --locked --bin obfs-rs --target "$target.$gnu_arm64_glibc" "$@" >&2 || return
    printf '%s\n' "$folder/target/$target/release/obfs-rs"
}

# Unpacks the libraries that it wants, and prints the folder for `qemu-aarch64-static -L`: gnu_arm64_libraries FOLDER
gnu_arm64_libraries() {
    local folder
    folder=$(realpath -m "$1")/libraries
    if [ ! -d "$folder" ]; then
        rm -rf "$folder.new"
        gnu_arm64_unpack "$folder.new" libc6 libgcc-s1 >&2 || return
        mv "$folder.new" "$folder" || return
    fi
    printf '%s\n' "$folder/root"
}
