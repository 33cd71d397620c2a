package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/balancer"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/machine"
)

// options is everything the program is told.
type options struct {
	listen, adminListen, metadataListen string
	proxyListen, proxyCA                string

	state             string
	noDisks, keepDisk bool

	balancers, balancerRange, balancerRangeV6, balancerBridge string
	instanceRange                                             string
	legacyVPC2                                                bool
	maxInstances                                              int

	machineHook        string
	machineHookTimeout time.Duration

	apiKeyFile  string
	rateLimit   float64
	rateLimitBy string

	timeScale   float64
	delays      simulator.Delays
	readLagText []string
	guestGrowth string

	minHighPerf   int
	wrapSnapshots bool
	faultsFile    string

	showVersion bool

	// filled in by validate
	growOnReattach bool
	readLags       simulator.ReadLags
	keys           []string
	faults         []simulator.Fault
	lbRange, vmIPs netip.Prefix
	lbRangeV6      netip.Prefix // the zero value is no IPv6
}

// reattach is the value of --guest-growth with which a guest sees growth only after a new attach.
const reattach = "reattach"

// readOptions parses the flags. It judges nothing but their form.
func readOptions(args []string, out io.Writer) (*options, error) {
	o := &options{delays: simulator.DefaultDelays()}
	f := o.flags()
	f.SetOutput(out)
	f.Usage = func() { _, _ = fmt.Fprintf(out, usage, f.FlagUsagesWrapped(110)) } // nobody to tell when standard output is gone
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: every setting is a flag", f.Arg(0))
	}
	return o, nil
}

// flags returns the flags that set o, in the order of the help.
func (o *options) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("simulator", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address of the API")
	f.StringVar(&o.adminListen, "admin-listen", "127.0.0.1:8081", "address of the status page (/) and the operator's JSON (/state /requests /counters /faults); \"\" is off. Whoever reaches it may do everything")
	f.StringVar(&o.metadataListen, "metadata-listen", "", "address of the metadata service, 169.254.169.254:80 on the real platform; \"\" is off")
	f.StringVar(&o.proxyListen, "proxy-listen", "", "address of an HTTPS proxy that is api.vultr.com, for clients that are told nothing but HTTPS_PROXY and SSL_CERT_FILE; \"\" is off")
	f.StringVar(&o.proxyCA, "proxy-ca", "", "where the certificate that SSL_CERT_FILE has to name is written; \"\" is proxy-ca.crt in the state directory")
	f.StringVar(&o.apiKeyFile, "api-key-file", "", "file with the API keys that are accepted, one per line, read again when it changes; \"\" accepts every key")

	f.StringVar(&o.state, "state", "/var/lib/vultr-simulator", "directory of everything that outlives the process, disks included")
	f.BoolVar(&o.noDisks, "no-disks", false, "keep block storage and file systems in the API only: no files, no loop devices, no root needed")
	f.BoolVar(&o.keepDisk, "keep-disks", false, "leave disks and file systems attached when the simulator ends; it finds them again")
	f.StringVar(&o.guestGrowth, "guest-growth", o.delays.GuestGrowth.String(), "when a guest sees that a volume grew: after a time, or \"reattach\"")

	f.IntVar(&o.minHighPerf, "min-high-perf", 10, "smallest high_perf volume in GB: 10 as the API says, or 1 as the product's pages do")
	f.BoolVar(&o.wrapSnapshots, "wrap-snapshots", false, "answer single block snapshots inside an object, as the official specification has it, instead of bare")

	f.StringVar(&o.balancers, "balancers", "on", "on: load balancers forward traffic; off: they are in the API only")
	f.StringVar(&o.balancerRange, "balancer-range", balancer.DefaultRange.String(), "where load balancers get their addresses")
	f.StringVar(&o.balancerRangeV6, "balancer-range-v6", "", "where load balancers get their IPv6 addresses, such as fd00:1b::/112; needs root; \"\" gives them none")
	f.StringVar(&o.balancerBridge, "balancer-bridge", "", "link that gets each load balancer's address as a /32 or /128; \"\" for addresses that are local anyway (IPv6 then uses lo)")
	f.StringVar(&o.instanceRange, "instance-range", "198.18.0.0/16", "where instances get their main_ip, in order from the 11th address")
	f.BoolVar(&o.legacyVPC2, "legacy-vpc2", false, "answer the routes of VPC 2.0, which the platform took away, with an empty list: released Terraform providers read one")
	f.IntVar(&o.maxInstances, "max-instances", 0, "how many instances the account may have; 0 is no limit")

	f.StringVar(&o.machineHook, "machine-hook", "", "program that makes instances real: called with start|kill|reboot INSTANCE_ID or disk-plugged|disk-unplugged INSTANCE_ID SERIAL, and INSTANCE_LABEL, INSTANCE_HOSTNAME, INSTANCE_REGION, INSTANCE_MAIN_IP and INSTANCE_DIR in its environment")
	f.DurationVar(&o.machineHookTimeout, "machine-hook-timeout", machine.DefaultTimeout, "how long the program may take")

	f.Float64Var(&o.rateLimit, "rate-limit", 30, "requests per second that a client may make; 0 is no limit")
	f.StringVar(&o.rateLimitBy, "rate-limit-by", string(simulator.RateLimitByIP), "who a client is: ip, as on the real platform, or key")

	f.Float64Var(&o.timeScale, "time-scale", 1, "every delay is multiplied by this: 0.1 makes a cloud ten times as fast")
	for _, d := range delayFlags(&o.delays) {
		f.DurationVar(d.value, "delay-"+d.name, *d.value, d.help)
	}
	f.StringSliceVar(&o.readLagText, "read-lag", []string{"all=" + simulator.DefaultReadLag.String()}, "how far reads lag behind writes, such as blocks.get=2s,vfs=500ms: KIND.list, KIND.get or KIND for both, the rest stays at the default; docs/simulator.md lists the kinds. off (all=0) has reads show the truth")
	f.StringVar(&o.faultsFile, "faults", "", "file with a fault plan, a JSON list, that is in force from the start; docs/simulator.md explains it")
	f.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	logging := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(logging)
	f.AddGoFlag(logging.Lookup("v"))
	f.AddGoFlag(logging.Lookup("vmodule"))
	return f
}

const usage = `simulator is a Vultr cloud on this machine: API, metadata service, real disks, real load balancers.

	simulator --state /tmp/cloud
	curl -H 'Authorization: Bearer any' http://127.0.0.1:8080/v2/account

Disks need root. Ending it (SIGTERM, Ctrl-C) takes all disks away and keeps what is in the state directory;
after a kill the next start takes over what was left.

%s`

type delayFlag struct {
	name  string
	value *time.Duration
	help  string
}

// delayFlags names the delays of the platform. --guest-growth, the remaining one, is more than a delay.
func delayFlags(d *simulator.Delays) []delayFlag {
	return []delayFlag{
		{"block-create", &d.BlockCreate, "until a new volume is active"},
		{"attach", &d.Attach, "until an attached volume says so"},
		{"detach", &d.Detach, "until a detached volume says so"},
		{"file-system", &d.FileSystem, "until a new file system (VFS) is active"},
		{"snapshot", &d.Snapshot, "until a block snapshot is complete, from when its data has been copied"},
		{"load-balancer", &d.LoadBalancer, "until a new load balancer is active"},
		{"load-balancer-address", &d.LoadBalancerAddress, "from then until it has its address"},
		{"load-balancer-nodes", &d.LoadBalancerNodes, "how long a changed node count leaves it activating"},
		{"instance-boot", &d.InstanceBoot, "until a new instance is active and has its address"},
		{"instance-ready", &d.InstanceReady, "from then until it is running and no longer locked"},
		{"halt", &d.Halt, "until a halted instance is stopped"},
		{"start", &d.Start, "until a started instance is running"},
		{"reboot", &d.Reboot, "until a rebooted instance is running"},
		{"instance-details", &d.InstanceDetails, "until an active instance's backup schedule is there"},
		{"firewall", &d.Firewall, "until changed firewall rules take effect"},
		{"user-data", &d.UserData, "until the metadata shows changed user data"},
		{"departure", &d.Departure, "how long what was destroyed counts against limits"},
		{"vpc-address", &d.VPCAddress, "until a new instance's address in a VPC is visible"},
		{"vpc-attach", &d.VPCAttach, "until a server is in a VPC, or out of it"},
		{"bare-metal", &d.BareMetal, "until a new bare metal server is active"},
		{"kubernetes", &d.Kubernetes, "until a new cluster or node pool is active"},
	}
}

// validate judges everything and lists every fault.
func (o *options) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	o.validateAddresses(fault)
	o.validateNumbers(fault)
	o.validateTimes(fault)
	if o.state == "" {
		fault("--state is empty: it must name a directory")
	}
	if !o.noDisks && os.Geteuid() != 0 {
		fault("disks are loop devices, which only root can make: run as root, or with --no-disks")
	}
	if o.machineHook != "" {
		if _, err := exec.LookPath(o.machineHook); err != nil {
			fault("--machine-hook: %w", err)
		}
	}
	if o.proxyCA != "" && o.proxyListen == "" {
		fault("--proxy-ca is given without --proxy-listen")
	}
	if o.faultsFile != "" {
		if err := o.readFaults(); err != nil {
			fault("--faults: %w", err)
		}
	}
	if o.apiKeyFile != "" {
		var err error
		if o.keys, err = readKeys(o.apiKeyFile); err != nil {
			fault("--api-key-file: %w", err)
		}
	}
	return errors.Join(faults...)
}

func (o *options) readFaults() error {
	text, err := os.ReadFile(o.faultsFile)
	if err != nil {
		return err
	}
	o.faults, err = simulator.ParseFaults(text)
	return err
}

func (o *options) validateAddresses(fault func(string, ...any)) {
	used := map[string]string{}
	for _, l := range o.listeners() {
		if l.address == "" && l.flag != "--listen" {
			continue
		}
		if err := checkListen(l.address); err != nil {
			fault("%s: %w", l.flag, err)
		}
		if other := used[l.address]; other != "" && !strings.HasSuffix(l.address, ":0") {
			fault("%s and %s are both %s", other, l.flag, l.address)
		}
		used[l.address] = l.flag
	}
	o.validateRanges(fault)
}

// validateRanges judges where instances and load balancers get their addresses.
func (o *options) validateRanges(fault func(string, ...any)) {
	var err error
	if o.vmIPs, err = netip.ParsePrefix(o.instanceRange); err != nil {
		fault("--instance-range: %w", err)
	}
	if o.balancers != "on" && o.balancers != "off" {
		fault("--balancers is %q, it must be on or off", o.balancers)
	}
	o.lbRange, err = netip.ParsePrefix(o.balancerRange)
	switch {
	case err != nil:
		fault("--balancer-range: %w", err)
	case o.vmIPs.IsValid() && o.lbRange.Overlaps(o.vmIPs):
		fault("--balancer-range %s and --instance-range %s overlap", o.lbRange, o.vmIPs)
	case o.balancerBridge != "" && o.lbRange.Addr().IsLoopback():
		fault("--balancer-bridge %s: nobody reaches the loopback addresses of --balancer-range %s through a bridge", o.balancerBridge, o.lbRange)
	}
	if o.balancerRangeV6 != "" {
		if o.lbRangeV6, err = netip.ParsePrefix(o.balancerRangeV6); err == nil && o.lbRangeV6.Addr().Is4() {
			err = errors.New("an IPv6 range is needed")
		}
		if err != nil {
			fault("--balancer-range-v6 %s: %w", o.balancerRangeV6, err)
		}
	}
	if o.balancerBridge != "" {
		if _, err := net.InterfaceByName(o.balancerBridge); err != nil {
			fault("--balancer-bridge %s: %w", o.balancerBridge, err)
		}
	}
}

func checkListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("address %s: port %q is not a number from 0 to 65535", address, port)
	}
	return nil
}

func (o *options) validateNumbers(fault func(string, ...any)) {
	if !(o.rateLimit >= 0 && o.rateLimit <= simulator.MaxRateLimit) { // NaN too
		fault("--rate-limit is %v, it must be from 0 to %v", o.rateLimit, float64(simulator.MaxRateLimit))
	}
	if by := simulator.RateLimitBy(o.rateLimitBy); by != simulator.RateLimitByIP && by != simulator.RateLimitByKey {
		fault("--rate-limit-by is %q, it must be ip or key", o.rateLimitBy)
	}
	if o.maxInstances < 0 {
		fault("--max-instances is %d, it must not be negative", o.maxInstances)
	}
	if o.minHighPerf < 1 || o.minHighPerf > 10000 {
		fault("--min-high-perf is %d, it must be between 1 and 10000", o.minHighPerf)
	}
	if !(o.timeScale > 0 && o.timeScale <= simulator.MaxTimeScale) { // NaN too
		fault("--time-scale is %v, it must be above 0 and at most %v", o.timeScale, float64(simulator.MaxTimeScale))
	}
	if o.machineHookTimeout <= 0 {
		fault("--machine-hook-timeout is %s, it must be above 0", o.machineHookTimeout)
	}
}

// validateTimes judges the delays and turns --guest-growth into one or into the other way that guests see growth.
func (o *options) validateTimes(fault func(string, ...any)) {
	for _, d := range delayFlags(&o.delays) {
		if *d.value < 0 {
			fault("--delay-%s is %s, it must not be negative", d.name, *d.value)
		}
	}
	var err error
	if o.readLags, err = parseReadLags(o.readLagText); err != nil {
		fault("--read-lag: %w", err)
	}
	if o.growOnReattach = o.guestGrowth == reattach; o.growOnReattach {
		return
	}
	growth, err := time.ParseDuration(o.guestGrowth)
	if err != nil || growth < 0 {
		fault("--guest-growth is %q, it must be %q or a time such as 2s", o.guestGrowth, reattach)
	}
	o.delays.GuestGrowth = growth
}

// parseReadLags reads KIND=TIME and "off".
func parseReadLags(texts []string) (simulator.ReadLags, error) {
	lags := map[string]string{}
	for _, text := range texts {
		if text == "off" {
			text = "all=0"
		}
		key, lag, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("%q is neither \"off\" nor of the form KIND=TIME", text)
		}
		lags[key] = lag
	}
	parsed, err := simulator.ParseReadLags(lags)
	return parsed.WithDefault(), err
}

type listenFlag struct{ flag, address string }

func (o *options) listeners() []listenFlag {
	return []listenFlag{{"--listen", o.listen}, {"--admin-listen", o.adminListen}, {"--metadata-listen", o.metadataListen}, {"--proxy-listen", o.proxyListen}}
}
