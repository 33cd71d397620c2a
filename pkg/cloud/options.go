// Package cloud makes Vultr a cloud provider of Kubernetes: it joins the parts below it into what
// k8s.io/cloud-provider runs.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/version"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// ProviderName is the value of --cloud-provider and the scheme of provider IDs.
const ProviderName = "vultr"

// DefaultKeyFile is where the API key is looked for.
const DefaultKeyFile = "/etc/vultr/api-key"

// The environment variables that the official controller reads too.
const (
	envKey       = "VULTR_API_KEY"
	envURL       = "API_URL"
	envUserAgent = "CCM_USER_AGENT"
)

// The platform's rate limit is shared by everything behind one address, so this program takes a modest part of it.
const (
	startRate = 5
	maxRate   = 10
)

// Options are the flags that this cloud provider adds.
type Options struct {
	KeyFile          string
	APIURL           string
	APIProxy         string
	CAFile           string
	Region           string
	MetadataURL      string
	FastNodeRecovery bool
	// NodeDeletionLimit is the share of the cluster's instances that may be missing before no Node is deleted any more.
	NodeDeletionLimit float64
	ZoneFromRegion    bool
	// VPC is the network whose addresses are the InternalIPs of Nodes: its ID, or a range that they are in.
	VPC string
	// AddressFamilies are those that Nodes have, in their order.
	AddressFamilies string
	// NodeLabels gives Nodes labels beside Kubernetes' own.
	NodeLabels bool
	// InstanceTag is given to the instances of Nodes, "" for none.
	InstanceTag string
	// NodeScopeTag, NodeScopeVPC and NodeScopeRegion say where the instances of new Nodes are looked for.
	NodeScopeTag, NodeScopeVPC, NodeScopeRegion string

	LabelInStatus bool
	DriftPeriod   time.Duration
	// DriftRepair brings back what somebody changed on the platform; without it that is told only.
	DriftRepair bool
	// ClassOnly leaves the Services to another controller that do not have this cloud's class.
	ClassOnly bool
	// KubeProxyPort is where kube-proxy answers on every node whether it works.
	KubeProxyPort int
	// HealthAddress is where questions about liveness and readiness are answered; "" is nowhere.
	HealthAddress string
	// LoadBalancerDefaults are values of settings that a Service does not state, each as name=value.
	LoadBalancerDefaults []string

	// file is what Load has read, and read are the values that come from there.
	file string
	read map[source]config.Value
}

// NewOptions returns the defaults, some of them from the environment.
func NewOptions() *Options {
	return &Options{
		KeyFile: DefaultKeyFile, APIURL: os.Getenv(envURL), FastNodeRecovery: true, NodeDeletionLimit: breaker.DefaultLimit, NodeLabels: true,
		LabelInStatus: true, DriftPeriod: 5 * time.Minute, DriftRepair: true, KubeProxyPort: settings.KubeProxyPort,
	}
}

// AddFlags adds the flags to a set.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.KeyFile, "vultr-api-key-file", o.KeyFile, "File with the API key; it is read again when it changes. Without it the environment variable "+envKey+" is used.")
	fs.StringVar(&o.APIURL, "vultr-api-url", o.APIURL, "Scheme and host of the API, https://api.vultr.com if empty. The environment variable "+envURL+" sets the default.")
	fs.StringVar(&o.APIProxy, proxyFlag, o.APIProxy, "Proxy for the API, such as http://proxy.example.com:3128, without a password. If empty, the environment variables HTTPS_PROXY and NO_PROXY say it.")
	fs.StringVar(&o.CAFile, caFlag, o.CAFile, "File with certificates of authorities, in PEM, that are trusted beside the system's when the API is called.")
	fs.StringVar(&o.Region, "vultr-region", o.Region, "Region for new load balancers. If empty, the one that the cluster's nodes are in, else the one that the metadata service tells.")
	fs.StringVar(&o.MetadataURL, "vultr-metadata-url", o.MetadataURL, "URL of the metadata service, http://169.254.169.254 if empty.")
	fs.BoolVar(&o.FastNodeRecovery, "fast-node-recovery", o.FastNodeRecovery, "Mark a node whose instance is proven deleted as out of service, so that its pods and disks move at once instead of after many minutes.")
	fs.Float64Var(&o.NodeDeletionLimit, "node-deletion-limit", o.NodeDeletionLimit, "Share of the cluster's instances, above 0 and up to 1. While more are missing, and at least 3, no node is deleted or marked until a person confirms each or the account shows them again. 1 switches it off.")
	fs.BoolVar(&o.ZoneFromRegion, "vultr-zone-from-region", o.ZoneFromRegion, "Give nodes their region as zone label too. The platform has no zones.")
	fs.StringVar(&o.VPC, vpcFlag, o.VPC, "UUID of the VPC whose addresses are the internal ones of nodes, or a range that these are in, such as 10.1.0.0/20. If empty, the first VPC of each instance. Given as UUID, load balancers prefer it too.")
	fs.StringVar(&o.AddressFamilies, familiesFlag, o.AddressFamilies, "Families of addresses that nodes have, in this order: ipv4, ipv6, or both, such as ipv6,ipv4. Each has an internal address then, a public one where there is no other. If empty, the internal address is of IPv4 where there is one, and the external ones are of both.")
	fs.BoolVar(&o.NodeLabels, labelsFlag, o.NodeLabels, "Give nodes the labels vultr.com/plan, vultr.com/kind (vm, gpu or metal) and vultr.com/vpc.")
	fs.StringVar(&o.InstanceTag, tagFlag, o.InstanceTag, "Tag that the instances of nodes are given, beside those that they have. None if empty.")
	fs.StringVar(&o.NodeScopeTag, scopeTagFlag, o.NodeScopeTag, "Tag of the instances among which those of new nodes are looked for. It never decides whether an instance exists.")
	fs.StringVar(&o.NodeScopeVPC, scopeVPCFlag, o.NodeScopeVPC, "UUID of the VPC of the instances among which those of new nodes are looked for.")
	fs.StringVar(&o.NodeScopeRegion, scopeRegionFlag, o.NodeScopeRegion, "Region of the instances among which those of new nodes are looked for.")
	fs.DurationVar(&o.DriftPeriod, "vultr-drift-period", o.DriftPeriod, "How often all load balancers are compared with what they should be, and repaired where somebody changed them on the platform; it costs one list. 0 switches it off; orphans are looked for once an hour then.")
	fs.BoolVar(&o.DriftRepair, "vultr-drift-repair", o.DriftRepair, "Change back what somebody changed at a load balancer on the platform. With false that is told by an Event only; nodes and certificates are kept up to date.")
	fs.BoolVar(&o.ClassOnly, "vultr-load-balancer-class-only", o.ClassOnly, "Serve only Services whose loadBalancerClass is vultr.com/load-balancer, beside another controller for all others: with a lease and records of its own.")
	fs.IntVar(&o.KubeProxyPort, kubeProxyFlag, o.KubeProxyPort, "Port on which kube-proxy answers health checks on the nodes: that of its healthzBindAddress.")
	fs.StringArrayVar(&o.LoadBalancerDefaults, defaultsFlag, o.LoadBalancerDefaults, "Value of an annotation for all Services that do not have it, as name=value, such as timeout=300; may be given several times. The name is that of the annotation without its prefix.")
	fs.BoolVar(&o.LabelInStatus, "vultr-label-in-status", o.LabelInStatus, "Write the load balancer's label as host name beside the address into the Service's status, where it is a valid host name.")
	fs.StringVar(&o.HealthAddress, healthFlag, o.HealthAddress, "Address at which /livez and /readyz are answered, over HTTP and to everybody, such as 127.0.0.1:10261. If empty, they are not.")
}

// Validate returns everything that is wrong with the options, and where it stands.
func (o *Options) Validate() error {
	_, err := o.Defaults()
	_, proxyErr := o.proxy()
	_, rootsErr := o.roots()
	_, choiceErr := o.choice()
	_, scopeErr := o.scope()
	return errors.Join(err, proxyErr, rootsErr, choiceErr, scopeErr, o.checkURL("vultr-api-url", o.APIURL), o.checkURL("vultr-metadata-url", o.MetadataURL), o.checkShare(), o.checkPort(), o.checkHealth())
}

func (o *Options) checkShare() error {
	if o.NodeDeletionLimit > 0 && o.NodeDeletionLimit <= 1 {
		return nil
	}
	return o.fault(source{flag: "node-deletion-limit"}, fmt.Sprintf("%g is not a share above 0 and up to 1, such as %g", o.NodeDeletionLimit, breaker.DefaultLimit))
}

// kubeProxyFlag is the flag of kube-proxy's port.
const kubeProxyFlag = "vultr-kube-proxy-health-port"

func (o *Options) checkPort() error {
	if o.KubeProxyPort >= 1 && o.KubeProxyPort <= 65535 {
		return nil
	}
	return o.fault(source{flag: kubeProxyFlag}, fmt.Sprintf("%d is not a port from 1 to 65535", o.KubeProxyPort))
}

// healthFlag is the flag of the address for health.
const healthFlag = "vultr-health-address"

func (o *Options) checkHealth() error {
	if o.HealthAddress == "" {
		return nil
	}
	if _, err := netip.ParseAddrPort(o.HealthAddress); err != nil {
		return o.fault(source{flag: healthFlag}, fmt.Sprintf("%q is not an IP address with a port, such as 127.0.0.1:10261 or [::1]:10261", o.HealthAddress))
	}
	return nil
}

func (o *Options) checkURL(flag, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return o.fault(source{flag: flag}, fmt.Sprintf("%q is not an address such as https://api.vultr.com", text))
	}
	return nil
}

// defaultsFlag is the flag that may be given several times.
const defaultsFlag = "vultr-load-balancer-default"

// Defaults returns the values for Services that do not state a setting.
func (o *Options) Defaults() (settings.Defaults, error) {
	values := make(map[string]string, len(o.LoadBalancerDefaults))
	var faults []error
	for _, text := range o.LoadBalancerDefaults {
		of := source{defaultsFlag, text}
		name, value, ok := strings.Cut(text, "=")
		name = strings.TrimPrefix(name, settings.Prefix)
		if _, twice := values[name]; !ok || twice {
			faults = append(faults, o.fault(of, fmt.Sprintf("%q is not name=value, or its name is given twice", text)))
			continue
		}
		values[name] = value
		// One at a time, so that each fault is told with the place where it stands.
		if _, err := settings.ParseDefaults(map[string]string{name: value}); err != nil {
			faults = append(faults, o.fault(of, err.Error()))
		}
	}
	if len(faults) > 0 {
		return settings.Defaults{}, errors.Join(faults...)
	}
	return settings.ParseDefaults(values)
}

// NewClient makes the API client.
func (o *Options) NewClient(registerer prometheus.Registerer) (*vultr.Client, error) {
	userAgent := os.Getenv(envUserAgent)
	if userAgent == "" {
		userAgent = version.Get().UserAgent("ccm")
	}
	proxy, err := o.proxy()
	if err != nil {
		return nil, err
	}
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	client, err := vultr.New(vultr.Config{
		BaseURL:    o.APIURL,
		Proxy:      proxy,
		RootCAs:    roots,
		KeyFile:    o.KeyFile,
		Key:        os.Getenv(envKey),
		UserAgent:  userAgent,
		StartRate:  startRate,
		MaxRate:    maxRate,
		Registerer: registerer,
	})
	if err != nil {
		return nil, fmt.Errorf("%w (the API key is read from --vultr-api-key-file=%s or from the environment variable %s)", err, o.KeyFile, envKey)
	}
	return client, nil
}

// proofTimeout bounds how long the start waits for the proof of the key.
const proofTimeout = 15 * time.Second

// AccountReader reads the account that the key belongs to.
type AccountReader interface {
	Account(ctx context.Context) (vultr.Account, error)
}

// ProveKey returns an error for a key that the API refuses. An API that cannot be reached is no reason not to start:
// the cluster must not lose its controller to an outage of the cloud.
func ProveKey(ctx context.Context, client AccountReader) error {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	_, err := client.Account(ctx)
	if vultr.IsKeyRefused(err) {
		return fmt.Errorf("the API key is refused: %w", err)
	}
	if err != nil {
		// 403 too: a key that may not read the account may still be allowed to do everything that is needed here.
		klog.FromContext(ctx).Error(err, "The API key could not be verified, continuing")
	}
	return nil
}
