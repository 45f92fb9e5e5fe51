# What a package's Makefile takes from the rust-package.mk of OpenWrt's packages: here it tells how Cargo would be called.
RUST_ARCH_DEPENDS:=@(aarch64||arm||mipsel)

define Build/Compile/Cargo
	@printf 'cargo %s\n' --features "$(RUST_PKG_FEATURES)" $(2)
endef

Build/Compile=$(call Build/Compile/Cargo)
