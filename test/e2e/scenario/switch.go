package scenario

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// Switch are the steps from the official cloud controller manager to this one, back, and here again, by the commands that
// docs/migrate.md has, while clients send requests to every port. Each builds on the one before.
func Switch() []Step {
	s := &ccmSwitch{}
	return []Step{
		{"this project's CCM has initialised the nodes", s.initialise},
		{"the documented commands go back to the official CCM, a stand-in that holds its lease", s.startOfficial},
		{"Services of its users have load balancers as it makes them", s.serveOfficial},
		{"the documented commands are run under requests to every port: what changes is told before, nothing is made or deleted", s.forward},
		{"a port, a policy and a node that are changed act, under requests", s.act},
		{"the documented commands go back to the official CCM, under requests", s.back},
		{"the documented commands are run once more, under requests", s.again},
		{"a Service by its default label takes its load balancer with it, one by a label of its own leaves it and says so", s.delete},
		{"what is handed over as documented goes with its Services, the last of those that share it", s.handOver},
		{"everything is deleted: the cloud has no load balancer left", everythingDeleted},
	}
}

// ccmSwitch is what the steps know of one another.
type ccmSwitch struct {
	services  []*corev1.Service   // as their users have written them
	balancers map[string]balanced // by the Service's name
	trusted   *x509.CertPool      // what clients trust
}

// balanced is a Service with its load balancer, as far as nobody may change it.
type balanced struct {
	uid         types.UID
	id, address string
}

// The page's sections with the commands, and what stands in them for what a user has.
const (
	ccmSection     = "Cloud controller manager"
	ccmBackSection = "To the official cloud controller manager"

	anyNamespace = "NAMESPACE"
	anyBalancer  = "ID_OF_THE_LOAD_BALANCER"
)

const (
	ccmName = "vultr-ccm"
	// proxied is a Service whose pods demand the PROXY protocol; others are called as in official/services.yaml.
	proxied    = "proxied"
	ofUID      = "plain"
	ofOwnLabel = "named"
	overTLS    = "secured"
	sharing1st = "first"
	sharing2nd = "second"
	withCookie = "sticky"
	addedPort  = 81
	healthz    = "/healthz"
	toldBefore = 9 * time.Second // ten, but Events have whole seconds
)

// switchCommands are the blocks of commands that a user runs.
type switchCommands struct {
	forward, list, handOver, back string
}

func (w *World) switchCommands() (switchCommands, error) {
	blocks, err := w.documentedCommands(migratePage, ccmSection)
	if err != nil {
		return switchCommands{}, err
	}
	back, err := w.documentedCommands(migratePage, ccmBackSection)
	if err != nil {
		return switchCommands{}, err
	}
	if len(blocks) != 3 || len(back) != 1 {
		return switchCommands{}, fmt.Errorf("docs/%s has %d blocks of commands in %q and %d in %q; known are three, to change over, to list Services and to hand over, and one",
			migratePage, len(blocks), ccmSection, len(back), ccmBackSection)
	}
	c := switchCommands{list: blocks[1], handOver: blocks[2], back: back[0]}
	for _, placeholder := range []string{anyNamespace, anyBalancer} {
		if strings.Count(c.handOver, placeholder) != 1 {
			return switchCommands{}, fmt.Errorf("the command of docs/%s to hand over does not have %s once:\n%s", migratePage, placeholder, c.handOver)
		}
	}
	c.forward, err = appliedHere(blocks[0], "ccm")
	return c, err
}

// initialise makes the cluster one that has this project's CCM. Whether the CSI driver is there does not matter.
func (*ccmSwitch) initialise(ctx context.Context, w *World) (string, error) {
	if err := w.createNamespace(ctx); err != nil {
		return "", err
	}
	if err := w.InstallFrom(ctx, w.Overlay("ccm")); err != nil {
		return "", err
	}
	if err := w.removeStartUpTaint(ctx); err != nil {
		return "", err
	}
	detail, err := nodesInitialised(ctx, w)
	if err != nil {
		return "", err
	}
	return detail, w.wait(ctx, "this project's CCM works", w.ccmWorks)
}

// ccmWorks says what is missing of this project's CCM.
func (w *World) ccmWorks(ctx context.Context) error {
	d, err := w.Kubernetes.AppsV1().Deployments(metav1.NamespaceSystem).Get(ctx, ccmName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if d.Status.ReadyReplicas != *d.Spec.Replicas || d.Status.UpdatedReplicas != *d.Spec.Replicas {
		return fmt.Errorf("%d of %d replicas of %s are ready", d.Status.ReadyReplicas, *d.Spec.Replicas, ccmName)
	}
	holder, err := w.leadingCCM(ctx)
	if err == nil && (holder == "" || strings.HasPrefix(holder, officialHolder)) {
		err = fmt.Errorf("the lease %s is held by %q", ccmLease, holder)
	}
	return err
}

// startOfficial goes back while there is no Service yet.
func (*ccmSwitch) startOfficial(ctx context.Context, w *World) (string, error) {
	if err := w.goBack(ctx); err != nil {
		return "", err
	}
	holder, err := w.leadingCCM(ctx)
	return "the lease is held by " + holder, err
}

// goBack runs the documented commands and applies the official manifest, as users do.
func (w *World) goBack(ctx context.Context) error {
	commands, err := w.switchCommands()
	if err != nil {
		return err
	}
	if _, err := w.Shell(ctx, commands.back); err != nil {
		return err
	}
	manifests, err := w.officialCCM()
	if err != nil {
		return err
	}
	if _, err := w.Kubectl(ctx, manifests, "apply", "-f", "-"); err != nil {
		return err
	}
	return w.wait(ctx, "the official CCM runs", w.officialCCMRuns)
}

// serveOfficial makes the Services, and what the official manager makes of them.
func (s *ccmSwitch) serveOfficial(ctx context.Context, w *World) (string, error) {
	var err error
	if s.services, err = w.officialServices(); err != nil {
		return "", err
	}
	if err := s.startServers(ctx, w); err != nil {
		return "", err
	}
	// A later one with the same label finds the load balancer of the first when that is active. So it is younger as well, and which
	// of the two decides is no matter of chance.
	var now, later []string
	labels := map[string]bool{}
	for _, service := range s.services {
		label := service.Annotations[loadBalancer+"label"]
		if labels[label] {
			later = append(later, service.Name)
			continue
		}
		now, labels[label] = append(now, service.Name), label != ""
	}
	for _, names := range [][]string{now, later} {
		if err := s.create(ctx, w, names); err != nil {
			return "", err
		}
		if err := w.officialServes(ctx, names); err != nil {
			return "", err
		}
	}
	if s.balancers, err = s.look(ctx, w); err != nil {
		return "", err
	}
	asked := s.requests(w)
	for _, port := range slices.Sorted(maps.Keys(asked)) {
		if err := w.answers(ctx, port+" answers", asked[port]); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d Services, %d ports", len(s.balancers), len(asked)), nil
}

// startServers starts a pod of each kind on each node, and makes the certificate.
func (s *ccmSwitch) startServers(ctx context.Context, w *World) error {
	onEach := func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.TopologySpreadConstraints[0].WhenUnsatisfiable = corev1.DoNotSchedule
	}
	if err := w.greeters(ctx, 2, nil, onEach); err != nil {
		return err
	}
	err := w.greeters(ctx, 2, []string{"-proxy"}, onEach, func(d *appsv1.Deployment) {
		labels := map[string]string{"app": proxied}
		d.Name, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = proxied, labels, labels
		d.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels = labels
	})
	if err != nil {
		return err
	}
	s.trusted = x509.NewCertPool()
	pair, err := newCertificate(1, s.trusted)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: overTLS}, Type: corev1.SecretTypeTLS, Data: pair}
	_, err = w.Kubernetes.CoreV1().Secrets(w.Namespace).Create(ctx, secret, metav1.CreateOptions{})
	return err
}

// create makes Services as their users have written them.
func (s *ccmSwitch) create(ctx context.Context, w *World, names []string) error {
	for _, service := range s.services {
		if !slices.Contains(names, service.Name) {
			continue
		}
		if _, err := w.Kubernetes.CoreV1().Services(w.Namespace).Create(ctx, service.DeepCopy(), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// look reads which Service has which load balancer: the one with the address in its status has to be the one that its annotation names.
func (s *ccmSwitch) look(ctx context.Context, w *World) (map[string]balanced, error) {
	list, err := w.Kubernetes.CoreV1().Services(w.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	balancers, err := w.Cloud.Balancers(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]balanced{}
	for i := range list.Items {
		service := &list.Items[i]
		ingress := service.Status.LoadBalancer.Ingress
		if len(ingress) != 1 || ingress[0].IP == "" {
			return nil, fmt.Errorf("the Service %s has the status %+v, not one address", service.Name, service.Status.LoadBalancer)
		}
		b := balanced{uid: service.UID, id: service.Annotations[loadBalancer+"id"], address: ingress[0].IP}
		if !slices.ContainsFunc(balancers, func(c cluster.CloudBalancer) bool { return c.ID == b.id && c.IPv4 == b.address }) {
			return nil, fmt.Errorf("the Service %s has the address %s and names the load balancer %q; there are %+v", service.Name, b.address, b.id, balancers)
		}
		found[service.Name] = b
	}
	return found, nil
}

// unchanged says what has become another Service, load balancer or address, and which ones were made or deleted since then.
func (s *ccmSwitch) unchanged(ctx context.Context, w *World, since time.Time) error {
	now, err := s.look(ctx, w)
	if err != nil {
		return err
	}
	if !maps.Equal(now, s.balancers) {
		return fmt.Errorf("the Services had %+v and have %+v", s.balancers, now)
	}
	counted, err := w.callsSince(ctx, since, "")
	if err != nil {
		return err
	}
	for _, operation := range []string{"create_load_balancer", "delete_load_balancer"} {
		if n := counted.operations[operation]; n > 0 {
			err = errors.Join(err, fmt.Errorf("%s was called %d times", operation, n))
		}
	}
	return err
}

// requests are what clients ask, by the Service's name and the port, but for some Services.
func (s *ccmSwitch) requests(w *World, but ...string) map[string]asks {
	all := map[string]asks{}
	for _, service := range s.services {
		if slices.Contains(but, service.Name) {
			continue
		}
		address := s.balancers[service.Name].address
		https := strings.Split(service.Annotations[loadBalancer+"https-ports"], ",")
		for _, port := range service.Spec.Ports {
			ask := w.greeted(address, port.Port)
			if slices.Contains(https, fmt.Sprint(port.Port)) {
				ask = func(ctx context.Context) (string, error) { return w.shown(ctx, "https://"+address+"/", s.trusted) }
			}
			all[fmt.Sprintf("%s:%d", service.Name, port.Port)] = ask
		}
	}
	return all
}

// underAll is under with requests of several kinds at once: none of any kind may fail.
func underAll(ctx context.Context, all map[string]asks, do func(ctx context.Context) error) (int, error) {
	names := slices.Sorted(maps.Keys(all))
	sent := make([]*traffic, len(names))
	for i, name := range names {
		sent[i] = startTraffic(ctx, all[name])
	}
	more := func(requests int) error {
		for i, name := range names {
			if err := sent[i].more(ctx, requests); err != nil {
				return fmt.Errorf("requests to %s: %w", name, err)
			}
		}
		return nil
	}
	err := more(askedBefore)
	if err == nil {
		err = do(ctx)
	}
	if err == nil {
		err = more(askedAfter)
	}
	total := 0
	for i, name := range names {
		asked, trafficErr := sent[i].end()
		if total += asked; trafficErr != nil {
			err = errors.Join(err, fmt.Errorf("requests to %s: %w", name, trafficErr))
		}
	}
	return total, err
}
