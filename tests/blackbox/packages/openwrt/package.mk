# What a package's Makefile takes from OpenWrt's package.mk: here it tells each definition and has a rule for each step.
BUILD_DIR?=$(TOPDIR)/build_dir
PKG_BUILD_DIR?=$(BUILD_DIR)/$(if $(BUILD_VARIANT),$(PKG_NAME)-$(BUILD_VARIANT)/)$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR?=$(PKG_BUILD_DIR)/ipkg-install
FIELDS:=SECTION CATEGORY SUBMENU TITLE DEPENDS PROVIDES CONFLICTS VARIANT DEFAULT_VARIANT PKGARCH

.PHONY: tell prepare compile
tell:
	@:
prepare:
	$(Build/Prepare)
compile:
	$(Build/Compile)

define BuildPackage
  $(foreach field,$(FIELDS),$(eval $(field):=))
  $(eval $(Package/$(1)))
  $(foreach field,$(FIELDS),$(info $(1) $(field)=$(strip $($(field)))))
  $(info $(1) PKG_VERSION=$(PKG_VERSION))
  $(info $(1) DESCRIPTION=$(strip $(Package/$(1)/description)))
  $(info $(1) CONFFILES=$(strip $(Package/$(1)/conffiles)))
install-$(1):
	$(call Package/$(1)/install,$(DEST))
endef
