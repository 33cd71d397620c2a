package guest

// Where things are in the guest.
const (
	// Plugin is the node plugin, PluginLog its log.
	Plugin    = "/vultr-csi"
	PluginLog = "/run/plugin.log"
	// Root is the kernel's parameter that has the serial of the disk with the Debian that is to be booted. Without it the guest is
	// what is in its memory.
	Root = "agent.root"
	// Agent is where the agent is in a Debian.
	Agent = "/run/agent"
	// NodeSocket is the node plugin's socket outside of its container, see deploy/manifests/csi/node.yaml.
	NodeSocket = "/var/lib/kubelet/plugins/block.csi.vultr.com/csi.sock"
	// ModuleList names the modules in the order in which they are loaded.
	ModuleList = "/modules"
)
