package vultr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vultr/govultr/v3"
)

const (
	defaultBaseURL   = "https://api.vultr.com"
	defaultUserAgent = "cloud-provider-vultr"
	defaultSettle    = 5 * time.Second
	// The platform allows 30 requests/s for one source address, whoever asks from there.
	defaultStartRate = 5
	defaultMaxRate   = 10
	// listSpacing keeps bursts of readers from causing bursts of lists: a list begins at most this often.
	listSpacing = 200 * time.Millisecond
)

// Config says how to reach the API. Only a key is needed.
type Config struct {
	// BaseURL is scheme and host of the API; "" means https://api.vultr.com.
	BaseURL string
	// KeyFile is read again when it changes. Where no such file exists Key is used.
	KeyFile string
	// Key is the API key itself, as from an environment variable.
	Key string
	// UserAgent is sent with every request.
	UserAgent string
	// StartRate and MaxRate are in requests per second; 0 means 5 and 10.
	StartRate, MaxRate float64
	// Registerer gets the metrics; nil means that nobody sees them.
	Registerer prometheus.Registerer
	// SettleTime is how long a new object may be missing from lists; 0 means 5 s.
	SettleTime time.Duration
	// TimeScale stretches the waits of WaitVolume for a simulator whose time runs slower or faster; 0 means 1.
	TimeScale float64
	// Proxy is what the requests go through; nil means what the environment says (HTTPS_PROXY and its like).
	Proxy *url.URL
	// RootCAs are the authorities that may have issued the API's certificate; nil means the system's.
	RootCAs *x509.CertPool
	// DialContext opens the connections, as for tests without a network; nil means the usual way.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Around returns what sends each attempt, by way of what would send it otherwise, as for traces; nil changes nothing.
	Around func(http.RoundTripper) http.RoundTripper
}

// String keeps the key out of logs.
func (c Config) String() string {
	return fmt.Sprintf("{BaseURL:%s KeyFile:%s Key:%s StartRate:%g MaxRate:%g}",
		c.BaseURL, c.KeyFile, redacted, c.StartRate, c.MaxRate)
}

// GoString keeps the key out of logs.
func (c Config) GoString() string { return c.String() }

// Client speaks to the API. It is safe for use by many goroutines, and one Client should serve a whole process: limits
// and shared reads work within one.
type Client struct {
	api     *govultr.Client
	redact  *redactor
	metrics *metrics

	volumes           *shared[Volume]
	snapshots         *shared[Snapshot]
	fileSystems       *shared[FileSystem]
	instances         *shared[Instance]
	loadBalancers     *shared[LoadBalancer]
	vpcs              *shared[VPC]
	reservedIPs       *shared[ReservedIP]
	firewallGroups    *shared[FirewallGroup]
	regions           *shared[Region]
	fileSystemRegions *shared[string]
	plans             *shared[Plan]
	attachments       attachmentLists
	sizes             pageSizes

	settle  time.Duration
	kinds   kinds
	learned *learned
	scale   float64
	// born is the zero of the grid on which waiters poll.
	born    time.Time
	waiting atomic.Int64
	overdue overdue
	// volumeReaders are the reads of single volumes under way.
	volumeReaders atomic.Int64
	// accepted is when the API last accepted the key.
	accepted atomic.Pointer[time.Time]
	keys     *keySource
	standing *standing
}

// New makes a Client. It reads the key, but makes no call.
func New(cfg Config) (*Client, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport has been replaced")
	}
	base = base.Clone()
	// All calls go to one host; the default of two idle connections makes bursts reconnect.
	base.MaxIdleConnsPerHost = 32
	if cfg.DialContext != nil {
		base.DialContext = cfg.DialContext
	}
	if cfg.Proxy != nil {
		base.Proxy = http.ProxyURL(cfg.Proxy)
	}
	if cfg.RootCAs != nil {
		base.TLSClientConfig = &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
	}
	// With HTTP/2 all calls share one connection. Without pings a dead one, after a change in the network between,
	// would take every call with it until the kernel gives up, a quarter of an hour later.
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second}
	if cfg.Around != nil {
		return newClient(cfg, cfg.Around(base))
	}
	return newClient(cfg, base)
}

func newClient(cfg Config, base http.RoundTripper) (*Client, error) {
	baseURL, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	red := &redactor{}
	keys, err := newKeySource(cfg.KeyFile, cfg.Key, red)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	start, ceiling := rates(cfg.StartRate, cfg.MaxRate)
	l, s := newLimiter(start, ceiling, m), &standing{metrics: m}
	if err := m.showBudget(cfg.Registerer, l.budget); err != nil {
		return nil, err
	}
	t := &transport{base: base, keys: keys, limiter: l, metrics: m, redact: red, standing: s, host: baseURL.Host}
	api := govultr.NewClient(&http.Client{
		Transport: t,
		// A redirect would send the request, and the key, to a place nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	// govultr repeats a POST after a lost answer, which makes a second volume; the transport knows better.
	api.SetRetryLimit(0)
	api.SetUserAgent(orDefault(cfg.UserAgent, defaultUserAgent))
	if err := api.SetBaseURL(baseURL.String()); err != nil {
		return nil, fmt.Errorf("API URL: %w", err)
	}
	c := &Client{
		api: api, redact: red, metrics: m, settle: orDefault(cfg.SettleTime, defaultSettle),
		scale: orDefault(cfg.TimeScale, 1), born: time.Now(), keys: keys, standing: s,
	}
	c.learned = newLearned(c.scale)
	c.shareLists()
	return c, nil
}

// shareLists makes the lists that readers share. Their names are metric labels.
func (c *Client) shareLists() {
	c.volumes = share(c, "volumes", everyOne(c, volumes))
	c.snapshots = share(c, "block_snapshots", everyOne(c, snapshots))
	c.fileSystems = share(c, "vfs", everyOne(c, fileSystems))
	c.instances = share(c, "instances", c.listInstances)
	c.loadBalancers = share(c, "load_balancers", everyOne(c, loadBalancers))
	c.vpcs = share(c, "vpcs", everyOne(c, vpcs))
	c.reservedIPs = share(c, "reserved_ips", everyOne(c, reservedIPs))
	c.firewallGroups = share(c, "firewall_groups", everyOne(c, firewallGroups))
	c.regions = share(c, "regions", everyOne(c, regions))
	c.fileSystemRegions = share(c, "vfs_regions", everyOne(c, fileSystemRegions))
	c.plans = share(c, "plans", c.listPlans)
}

// KeySince returns since when the present key is in use: what was answered before may have been answered with another
// key, which may be of another account.
func (c *Client) KeySince() time.Time { return c.keys.keySince() }

// SettleTime is how long a new object may be missing from lists.
func (c *Client) SettleTime() time.Duration { return c.settle }

// parseBaseURL refuses what govultr would silently ignore: it uses scheme and host alone.
func parseBaseURL(text string) (*url.URL, error) {
	u, err := url.Parse(orDefault(text, defaultBaseURL))
	if err != nil {
		return nil, fmt.Errorf("API URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("API URL %q: want http(s)://host", u.Redacted())
	}
	if u.User != nil || u.RawQuery != "" || (u.Path != "" && u.Path != "/" && u.Path != "/v2" && u.Path != "/v2/") {
		return nil, fmt.Errorf("API URL %q: want scheme and host only", u.Redacted())
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func rates(start, ceiling float64) (float64, float64) {
	if ceiling <= 0 {
		ceiling = max(start, defaultMaxRate)
	}
	if start <= 0 {
		start = defaultStartRate
	}
	return min(start, ceiling), ceiling
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
