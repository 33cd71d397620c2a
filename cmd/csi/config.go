package main

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/attachlimit"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/server"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// The modes of the process.
const (
	modeController = "controller"
	modeNode       = "node"
	modeAll        = "all"
	// modePreStop is what the kubelet runs before it ends the node plugin.
	modePreStop = "pre-stop"
)

// Config is everything the process is told.
type Config struct {
	Mode         string
	Endpoint     string
	HTTPEndpoint string
	// MetricsEndpoint is where others than the host itself may read metrics, with the token in MetricsTokenFile.
	MetricsEndpoint  string
	MetricsTokenFile string
	LoggingFormat    string
	Verbosity        int
	ShowVersion      bool

	APIURL     string
	APIKeyFile string
	// APIKey is from the environment. It is a secret.
	APIKey string
	Region string
	// ClusterID is whose the volumes are.
	ClusterID ownership.Cluster
	// OrphanAge is how long a volume has been in no PersistentVolume when it is reported.
	OrphanAge time.Duration
	// CostByClaim has a metric show what each claim's volume costs.
	CostByClaim bool
	// TimeScale is how long the platform's second is.
	TimeScale float64
	// Tracing is set to send traces.
	Tracing bool
	// StartRate and MaxRate are how many API calls a second the process allows itself.
	StartRate, MaxRate float64

	MetadataURL             string
	NodeID                  string
	ReportOfficialRegion    bool
	DeviceDir               string
	SysfsBlockDir           string
	VFSDir                  string
	StateDir                string
	MaxVolumesPerNode       int64
	PluginRegistrationDir   string
	KubeletRegistrationPath string
	KubeletRoot             string
	NodeName                string
	// PreStopTimeout bounds the wait of the pre-stop hook.
	PreStopTimeout time.Duration
	// AccountDir is where the account of the cluster is.
	AccountDir string
}

// Read parses flags and environment. It judges nothing but their form.
func Read(args []string, getenv func(string) string) (Config, error) {
	c := Config{APIKey: strings.TrimSpace(getenv("VULTR_API_KEY"))}
	f := flagsOf(&c, getenv)
	f.SetOutput(os.Stdout)
	f.Usage = func() {
		fmt.Printf("csi is the CSI driver for Vultr block storage and shared file systems.\n\n%s", f.FlagUsages())
	}
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q: every setting is a flag", f.Arg(0))
	}
	return c, nil
}

// flagsOf returns the flags that set c. Help that begins with a mode in brackets is of a flag that other modes ignore.
func flagsOf(c *Config, getenv func(string) string) *pflag.FlagSet {
	f := pflag.NewFlagSet("csi", pflag.ContinueOnError)
	f.StringVar(&c.Mode, "mode", "", "what the process is: controller, node, or all for both; pre-stop waits, on a node that is being drained, until its volumes are detached")
	f.StringVar(&c.Endpoint, "endpoint", "unix:///csi/csi.sock", "Unix socket on which CSI is served")
	f.StringVar(&c.HTTPEndpoint, "http-endpoint", ":9808", "address of /healthz (the process answers on its sockets), /readyz (CSI's Probe) and /metrics; \"\" disables it")
	f.StringVar(&c.MetricsEndpoint, "metrics-endpoint", "", "address at which others than the host may read /metrics and nothing else, over TLS and with a token; \"\" disables it")
	f.StringVar(&c.MetricsTokenFile, "metrics-token-file", "", "file with the token (\"Authorization: Bearer ...\") for --metrics-endpoint, of 16 characters or more; it is read again for each request, and while it is missing or too short all requests are refused")
	f.StringVar(&c.LoggingFormat, "logging-format", "text", "format of the log: text or json")
	f.BoolVar(&c.Tracing, "tracing", false, "send traces of calls by OTLP over gRPC; the standard variables OTEL_EXPORTER_OTLP_* and OTEL_TRACES_SAMPLER set where and how many")
	f.BoolVar(&c.ShowVersion, "version", false, "print the version and exit")
	f.StringVar(&c.Region, "region", "", "region of volumes for which nothing else names one, and on a node of the node, where it must not contradict the metadata service; \"\" asks the Node (a controller: the one it runs on) and the metadata service")
	f.StringVar(&c.MetadataURL, "metadata-url", "", "URL of the metadata service; \"\" is http://169.254.169.254")
	f.StringVar(&c.NodeName, "node-name", getenv("NODE_NAME"), "name of the node in the cluster; \"\" asks the cluster nothing about the node. The environment variable NODE_NAME sets the default")
	f.StringVar(&c.AccountDir, "account-dir", kubeapi.AccountDir, "directory of the service account's token and certificate")
	f.IntVarP(&c.Verbosity, "v", "v", 0, "verbosity of the log: 4 shows calls, 5 requests as they come")
	vmodule := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(vmodule)
	f.AddGoFlag(vmodule.Lookup("vmodule"))
	addControllerFlags(c, f, getenv)
	addNodeFlags(c, f, getenv)
	f.DurationVar(&c.PreStopTimeout, "pre-stop-timeout", 4*time.Minute, "(pre-stop) how long to wait for volumes: a minute less than the pod's terminationGracePeriodSeconds. It belongs into the command of the DaemonSet's lifecycle.preStop")
	return f
}

func addControllerFlags(c *Config, f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&c.APIURL, "api-url", getenv("API_URL"), "(controller) URL of the Vultr API; \"\" is https://api.vultr.com. The environment variable API_URL sets the default")
	f.StringVar(&c.APIKeyFile, "api-key-file", "/etc/vultr/api-key", "(controller) file with the API key, read again when it changes; without it the environment variable VULTR_API_KEY is used")
	f.StringVar((*string)(&c.ClusterID), "cluster-id", "", "(controller) begins the labels of new volumes and the descriptions of new snapshots, \"<id>/<name>\", and is in a tag of new shared file systems, so that clusters of one account never take each other's; volumes without it are still found. It must not be changed later")
	f.DurationVar(&c.OrphanAge, "orphan-age", 24*time.Hour, "(controller) how long a volume of this cluster must have been in no PersistentVolume, or a snapshot in no VolumeSnapshotContent, to be reported as orphaned; an hour or more, 0 disables the search")
	f.BoolVar(&c.CostByClaim, "cost-by-claim", true, "(controller) have csi_volumes_monthly_cost_dollars show each claim, which is one series for each, and not each namespace alone; the search for orphans finds it out, so --orphan-age=0 disables it as well")
	f.Float64Var(&c.TimeScale, "platform-time-scale", 1, "(controller) how long the platform's second is: other than 1 only for a simulator whose time runs faster or slower")
	f.Float64Var(&c.StartRate, "api-start-rate", startRate, "(controller) API calls per second at first; the rate falls when the platform throttles and rises slowly otherwise")
	f.Float64Var(&c.MaxRate, "api-max-rate", maxRate, "(controller) API calls per second at most; the platform allows 30 for all programs and clusters behind one address")
}

func addNodeFlags(c *Config, f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&c.NodeID, "node-id", "", "(node) ID of the instance, where neither the metadata service nor the Node's provider ID has it; one that contradicts them is an error")
	f.BoolVar(&c.ReportOfficialRegion, "report-official-region", false, "(node) also report the official driver's topology key \"region\", spelled as by the metadata service; the kubelet refuses the registration of a node that has another value in its label \"region\"")
	f.StringVar(&c.DeviceDir, "device-dir", "/dev", "(node) directory of device nodes")
	f.StringVar(&c.SysfsBlockDir, "sysfs-block-dir", "/sys/class/block", "(node) directory of sysfs that describes block devices")
	f.StringVar(&c.VFSDir, "vfs-dir", getenv("VFS_DIR"), "(node) for the simulator, whose machines share one kernel: directory in which shared file systems appear, named by their tags; \"\" mounts virtiofs. The environment variable VFS_DIR sets the default")
	f.StringVar(&c.StateDir, "state-dir", "/csi/state", "(node) directory for records that survive the process")
	f.Int64Var(&c.MaxVolumesPerNode, "max-volumes-per-node", attachlimit.Default, "(node) how many volumes a node can have, at most 16, those included that the driver does not know; the Node's label block.csi.vultr.com/max-volumes takes precedence")
	f.StringVar(&c.PluginRegistrationDir, "plugin-registration-dir", "/registration", "(node) the kubelet's directory for registration sockets; \"\" leaves the registration to a sidecar")
	f.StringVar(&c.KubeletRegistrationPath, "kubelet-registration-path", "/var/lib/kubelet/plugins/block.csi.vultr.com/csi.sock", "(node) where the kubelet finds the CSI socket on the host")
	f.StringVar(&c.KubeletRoot, "kubelet-root", "/var/lib/kubelet", "(node) the kubelet's directory (its --root-dir); nothing is mounted or unmounted outside of it")
}

func (c Config) controller() bool { return c.Mode == modeController || c.Mode == modeAll }

func (c Config) node() bool { return c.Mode == modeNode || c.Mode == modeAll }

// nodeName is the name of the Node to ask about this process, "" if none is asked: a controller asks its Node only for a
// default region, which --region sets as well.
func (c Config) nodeName() string {
	if !c.node() && c.Region != "" {
		return ""
	}
	return c.NodeName
}

// Validate judges everything that the mode uses and lists every fault.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !slices.Contains([]string{modeController, modeNode, modeAll, modePreStop}, c.Mode) {
		fault("--mode is %q, it must be controller, node, all or pre-stop", c.Mode)
	}
	if c.LoggingFormat != "text" && c.LoggingFormat != "json" {
		fault("--logging-format is %q, it must be text or json", c.LoggingFormat)
	}
	if _, err := server.ParseEndpoint(c.Endpoint); err != nil {
		fault("--endpoint: %w", err)
	}
	c.validateMetrics(fault)
	if c.MetadataURL != "" {
		if err := checkURL(c.MetadataURL); err != nil {
			fault("--metadata-url: %w", err)
		}
	}
	if c.controller() {
		c.validateController(fault)
	}
	if c.node() {
		c.validateNode(fault)
	}
	if c.Mode == modePreStop {
		if c.NodeName == "" {
			fault("--node-name is not set, nor is NODE_NAME")
		}
		if c.PreStopTimeout <= 0 {
			fault("--pre-stop-timeout is %s, it must be above 0", c.PreStopTimeout)
		}
	}
	return errors.Join(faults...)
}

// validateMetrics does not judge the token: a Secret for monitoring that is missing or wrong must not keep volumes from being
// mounted. Nobody gets metrics without it.
func (c Config) validateMetrics(fault func(string, ...any)) {
	switch {
	case c.MetricsEndpoint == "" && c.MetricsTokenFile == "":
	case c.MetricsEndpoint == "":
		fault("--metrics-token-file is set and --metrics-endpoint, for which it is, is not")
	case c.MetricsTokenFile == "":
		fault("--metrics-endpoint would be open to everybody who reaches it: it needs --metrics-token-file")
	}
}

func (c Config) validateController(fault func(string, ...any)) {
	if c.APIURL != "" {
		if err := checkURL(c.APIURL); err != nil {
			fault("--api-url: %w", err)
		}
	}
	if err := c.ClusterID.Validate(); err != nil {
		fault("--cluster-id: %w", err)
	}
	if c.OrphanAge < 0 || (c.OrphanAge > 0 && c.OrphanAge < time.Hour) {
		fault("--orphan-age is %s, it must be an hour or more, or 0", c.OrphanAge)
	}
	if c.TimeScale <= 0 {
		fault("--platform-time-scale is %v, it must be above 0", c.TimeScale)
	}
	if !(c.MaxRate > 0 && c.MaxRate <= platformRate) { // NaN too
		fault("--api-max-rate is %v, it must be above 0 and at most %d", c.MaxRate, platformRate)
	} else if !(c.StartRate > 0 && c.StartRate <= c.MaxRate) {
		fault("--api-start-rate is %v, it must be above 0 and at most --api-max-rate, %v", c.StartRate, c.MaxRate)
	}
	if _, err := os.Stat(c.APIKeyFile); err != nil && c.APIKey == "" {
		fault("there is no API key: --api-key-file: %w; VULTR_API_KEY is not set", err)
	}
}

func (c Config) validateNode(fault func(string, ...any)) {
	if os.Geteuid() != 0 {
		fault("--mode=%s mounts file systems, it must run as root", c.Mode)
	}
	for name, dir := range map[string]string{"--device-dir": c.DeviceDir, "--sysfs-block-dir": c.SysfsBlockDir} {
		if st, err := os.Stat(dir); err != nil {
			fault("%s: %w", name, err)
		} else if !st.IsDir() {
			fault("%s: %s is not a directory", name, dir)
		}
	}
	if !filepath.IsAbs(c.StateDir) {
		fault("--state-dir: %q is not absolute", c.StateDir)
	}
	if c.VFSDir != "" {
		if st, err := os.Stat(c.VFSDir); !filepath.IsAbs(c.VFSDir) || err != nil || !st.IsDir() {
			fault("--vfs-dir: %q is not the absolute path of a directory", c.VFSDir)
		}
	}
	if c.NodeID != "" && !volume.ValidID(c.NodeID) {
		fault("--node-id: %q is not the UUID of an instance", c.NodeID)
	}
	if c.MaxVolumesPerNode < 1 || c.MaxVolumesPerNode > attachlimit.Most {
		fault("--max-volumes-per-node is %d, it must be 1 to %d", c.MaxVolumesPerNode, attachlimit.Most)
	}
	c.validateKubelet(fault)
}

// validateKubelet judges what the node plugin is told of the kubelet.
func (c Config) validateKubelet(fault func(string, ...any)) {
	if st, err := os.Stat(c.KubeletRoot); !filepath.IsAbs(c.KubeletRoot) || err != nil || !st.IsDir() || filepath.Clean(c.KubeletRoot) == "/" {
		fault("--kubelet-root: %q is not the absolute path of the kubelet's directory", c.KubeletRoot)
	}
	if c.PluginRegistrationDir == "" {
		return
	}
	if st, err := os.Stat(c.PluginRegistrationDir); err != nil || !st.IsDir() {
		fault("--plugin-registration-dir: %q is not a directory (\"\" turns the registration off)", c.PluginRegistrationDir)
	}
	if !filepath.IsAbs(c.KubeletRegistrationPath) {
		fault("--kubelet-registration-path: %q is not absolute", c.KubeletRegistrationPath)
	}
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q is not an http or https address", text)
	}
	return nil
}
