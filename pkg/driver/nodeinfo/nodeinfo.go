package nodeinfo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/attachlimit"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// metadataPatience and flagPatience are the defaults of Patience.
	metadataPatience, flagPatience = 10 * time.Second, 3 * time.Second
	// readNode is how long one read of the Node may take.
	readNode = 5 * time.Second
	// firstPause and maxPause are between two reads of the Node while it is not known which instance this is.
	firstPause, maxPause = time.Second, 30 * time.Second
)

// Config is where to look.
type Config struct {
	// ID and Region are what flags say, "" if nothing.
	ID, Region string
	Metadata   *vultr.Metadata
	// NeedID is set on a node. A controller needs the region only, and only if no flag says it.
	NeedID bool
	// Patience is how long the metadata service is waited for before others are believed; 0 is 10 seconds, and 3 where flags
	// say everything. It is asked on, in case it contradicts.
	Patience time.Duration
	// Official is set to report the official driver's topology key, whose spelling only the metadata service knows.
	Official bool

	// Kube and NodeName are how to read the Node; without them there is none.
	Kube     *kubeapi.Client
	NodeName string
	Driver   string

	// MaxVolumes is what the flag says.
	MaxVolumes int64
	// Disks returns the serials of all devices of the machine, and how many may have one that could not be read.
	Disks func() (serials []string, unread int, err error)
}

// Info is what the kubelet is told.
type Info struct {
	Identity

	MaxVolumes int64
}

// Source knows what the kubelet is told of the node. Sources may answer late or, outside of the platform or a cluster,
// never. Nothing ends for that; what needs the answer says what is missing.
type Source struct {
	cfg   Config
	known chan struct{} // closed when it was known for the first time which instance this is
	news  chan struct{} // of the metadata service

	mu     sync.Mutex
	claims claims
	seen   attachlimit.Memory
	// told are the last complaints that were logged, by what they are about.
	told map[string]string
}

// New makes a Source; Run makes it look.
func New(cfg Config) *Source {
	return &Source{
		cfg: cfg, known: make(chan struct{}), news: make(chan struct{}, 2), told: map[string]string{},
		claims: claims{flagID: strings.ToLower(cfg.ID), flagRegion: strings.ToLower(cfg.Region)},
	}
}

// Run looks until it is known which instance this is, and goes on asking a metadata service that has not answered. It
// returns when the context ends.
func (s *Source) Run(ctx context.Context) {
	go s.askMetadata(ctx)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		s.readNode(ctx)
		i, err := s.Identity()
		if err == nil {
			klog.FromContext(ctx).Info("Running on", "instanceID", i.ID, "region", i.Region)
			close(s.known)
			break
		}
		s.complain(ctx, "instance", err)
		timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // spreading load needs no secrecy
		select {
		case <-timer.C:
		case <-s.news:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
	<-ctx.Done()
}

// askMetadata asks the metadata service until it answers. It is not needed where a flag says all that a controller needs.
func (s *Source) askMetadata(ctx context.Context) {
	complete := s.cfg.Region != "" && (!s.cfg.NeedID || s.cfg.ID != "") && !s.cfg.Official
	if complete && !s.cfg.NeedID {
		s.giveUpMetadata()
		return
	}
	patience := s.cfg.Patience
	switch {
	case patience > 0:
	case complete:
		patience = flagPatience
	default:
		patience = metadataPatience
	}
	waited := time.AfterFunc(patience, s.giveUpMetadata)
	defer waited.Stop()
	answer, err := s.cfg.Metadata.Get(ctx)
	if err != nil {
		return // the context has ended
	}
	s.mu.Lock()
	s.claims.metadata = &answer
	s.mu.Unlock()
	s.news <- struct{}{}
}

func (s *Source) giveUpMetadata() {
	s.mu.Lock()
	s.claims.silent = true
	s.mu.Unlock()
	s.news <- struct{}{}
}

// readNode reads the Node. What was read before is kept when that fails.
func (s *Source) readNode(ctx context.Context) {
	if s.cfg.Kube == nil || s.cfg.NodeName == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readNode)
	defer cancel()
	var n node
	err := s.cfg.Kube.Get(ctx, "/api/v1/nodes/"+url.PathEscape(s.cfg.NodeName), &n)
	s.complain(ctx, "Node", err)
	if err != nil {
		return
	}
	if _, err := n.instanceID(); !errors.Is(err, errOtherProvider) {
		s.complain(ctx, "provider ID "+n.Spec.ProviderID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims.node = &n
}

// complain logs what is wrong, once as long as it is the same. nil says that it is right again.
func (s *Source) complain(ctx context.Context, about string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if s.told[about] == text {
		return
	}
	if s.told[about] = text; text != "" {
		klog.FromContext(ctx).Info("What is known of this node is incomplete", "about", about, "reason", text)
	}
}

// Wait waits until it is known which instance this is.
func (s *Source) Wait(ctx context.Context) error {
	select {
	case <-s.known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Identity returns which instance this is, by what the sources have said so far.
func (s *Source) Identity() (Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return identify(s.claims, s.cfg.NeedID, s.cfg.Official)
}

// Check reports whether the sources contradict each other. That nothing is known yet shows elsewhere.
func (s *Source) Check(context.Context) error {
	if _, err := s.Identity(); errors.Is(err, ErrContradiction) {
		return err
	}
	return nil
}

// Info returns what the kubelet is to be told, by the Node and the machine as they are now. staged returns the IDs of the
// volumes that are staged.
func (s *Source) Info(ctx context.Context, staged func() ([]string, error)) (Info, error) {
	s.readNode(ctx)
	i, err := s.Identity()
	if err != nil {
		return Info{}, err
	}
	limit, err := s.limit(ctx, staged)
	return Info{Identity: i, MaxVolumes: limit}, err
}

// limit measures how many volumes the node can have.
func (s *Source) limit(ctx context.Context, staged func() ([]string, error)) (int64, error) {
	serials, unread, err := s.cfg.Disks()
	if err != nil {
		return 0, fmt.Errorf("counting the disks that are not the cluster's: %w", err)
	}
	ours, err := staged()
	if err != nil {
		return 0, err
	}
	facts := attachlimit.Facts{Flag: s.cfg.MaxVolumes}
	s.mu.Lock()
	if n := s.claims.node; n != nil {
		facts.Label, facts.Proof = n.Metadata.Labels[attachlimit.Label], attachlimit.ProofOf(n.Metadata.Annotations)
		ours = append(ours, n.volumes(s.cfg.Driver)...)
	}
	s.mu.Unlock()
	slices.Sort(ours)
	facts.Disks = s.seen.Judge(attachlimit.Seen{Serials: serials, Unread: unread, Ours: slices.Compact(ours), Proof: facts.Proof}, time.Now())
	limit, fault := attachlimit.Decide(facts, time.Now())
	s.complain(ctx, "limit", fault)
	return limit, nil
}
