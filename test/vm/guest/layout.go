package guest

// Where things are in the guest.
const (
	// Plugin is the node plugin, PluginLog its log.
	Plugin    = "/vultr-csi"
	PluginLog = "/run/plugin.log"
	// ModuleList names the modules in the order in which they are loaded.
	ModuleList = "/modules"
)
