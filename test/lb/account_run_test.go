package lb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// accountMark is the tag of the machines that a run makes, and the label of its load balancers.
	accountMark = "cloud-provider-vultr-account-test"
	// markedUIDs begins the UIDs of its Services, and so the labels with which their load balancers are made.
	markedUIDs = "5eab0e57-acc0-4e57"

	accountPlan   = "vc2-1c-1gb"
	accountSystem = 2136 // Debian 12
	// accountLimit is how long a run may take, and cleanLimit what cleaning up may take after that. Each hour that has begun is paid for.
	accountLimit = 35 * time.Minute
	cleanLimit   = 20 * time.Minute
	// What a load balancer costs is in no answer of the API.
	balancerPrice    = 10.0 // dollars a month
	accountBalancers = 2    // one, and one more should a request make two
	hoursOfAMonth    = 672  // for which the platform asks the price of a month

	lookEvery = 3 * time.Second
	// shownAfter is how long a create whose answer was lost may stay unseen.
	shownAfter = 3 * time.Minute
)

// account is an account of the platform with a cluster of one machine, of which nothing is real but the machine: the controller
// runs in this process, with an API server of the tests.
type account struct {
	*testing.T
	live             bool // somebody answers at the addresses
	way              http.RoundTripper
	url, key, region string
	api              *vultr.Client
	kube             *kube
	user             *fake.Clientset
	began            time.Time
	machine          string // its ID
	address          string // of the load balancer
	balancer         string // its ID
	writes           atomic.Int64
	services         int
	stop             func()
}

func newAccount(t *testing.T, way http.RoundTripper, url, key, region string) *account {
	t.Helper()
	a := &account{T: t, way: way, url: url, key: key, region: region, kube: newKube(), began: time.Now(), stop: func() {}}
	a.user = a.kube.client(directly)
	a.api = a.client()
	return a
}

// client returns a client of the API whose requests that change something are counted.
func (a *account) client() *vultr.Client {
	a.Helper()
	client, err := vultr.New(vultr.Config{BaseURL: a.url, Key: a.key, Around: func(http.RoundTripper) http.RoundTripper { return counter{a} }})
	if err != nil {
		a.Fatal(err)
	}
	return client
}

type counter struct{ account *account }

// RoundTrip counts a request and sends it.
func (c counter) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		c.account.writes.Add(1)
	}
	return c.account.way.RoundTrip(req)
}

// dearError says that a run costs more than it may.
type dearError struct{ cost, limit float64 }

// Error implements error.
func (e *dearError) Error() string {
	return fmt.Sprintf("a run costs up to %.3f dollars, and may cost %.3f: nothing was made", e.cost, e.limit)
}

// run takes all steps, and leaves the account as it was, whatever comes of them.
func (a *account) run(ctx context.Context, maxCost float64) (err error) {
	cost, err := a.cost(ctx)
	if err != nil {
		return err
	}
	if cost > maxCost {
		return &dearError{cost: cost, limit: maxCost}
	}
	a.Logf("this costs %.3f dollars at most", cost)
	if err := a.clean(ctx); err != nil {
		return fmt.Errorf("what an earlier run left: %w", err)
	}
	defer func() {
		a.stop()
		err = errors.Join(err, a.clean(context.WithoutCancel(ctx)))
	}()
	ctx, cancel := context.WithTimeout(ctx, accountLimit)
	defer cancel()
	for _, step := range accountSteps {
		began := time.Now()
		if err := step.do(a, ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		a.Logf("%-60s %6.1f s", step.name, time.Since(began).Seconds())
	}
	return nil
}

// cost returns how many dollars a run costs at most.
func (a *account) cost(ctx context.Context) (float64, error) {
	var answer struct {
		Plans []struct {
			ID      string  `json:"id"`
			Monthly float64 `json:"monthly_cost"`
		} `json:"plans"`
	}
	if err := a.call(ctx, http.MethodGet, "/v2/plans?type=vc2&per_page=500", nil, &answer); err != nil {
		return 0, err
	}
	for _, plan := range answer.Plans {
		if plan.ID == accountPlan && plan.Monthly > 0 {
			hours := (accountLimit + cleanLimit).Truncate(time.Hour).Hours() + 1
			return (plan.Monthly + accountBalancers*balancerPrice) / hoursOfAMonth * hours, nil
		}
	}
	return 0, fmt.Errorf("the price of plan %s is not known", accountPlan)
}

// call is a request for what the products have no need of.
func (a *account) call(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	response, err := a.way.RoundTrip(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// await returns nil as soon as something is so.
func (a *account) await(ctx context.Context, limit time.Duration, is func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := is()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(lookEvery):
		}
	}
}

// clean deletes all that bears the mark, until there has been nothing of it for so long that nothing more can show.
func (a *account) clean(ctx context.Context) error {
	var empty time.Time
	return a.await(ctx, cleanLimit, func() error {
		left, err := a.sweep(ctx)
		switch {
		case err != nil:
			return err
		case len(left) > 0:
			empty = time.Time{}
			return fmt.Errorf("there still are %s", strings.Join(left, ", "))
		case empty.IsZero():
			empty = time.Now()
		}
		if time.Since(empty) < shownAfter {
			return errors.New("something may show yet")
		}
		return nil
	})
}

// sweep asks for the deletion of all that bears the mark, and returns what there was of it.
func (a *account) sweep(ctx context.Context) (left []string, err error) {
	balancers, err := a.api.LoadBalancers(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, lb := range balancers.Items {
		if lb.Label != accountMark && !strings.HasPrefix(lb.Label, "a"+strings.ReplaceAll(markedUIDs, "-", "")) {
			continue
		}
		left = append(left, "load balancer "+lb.ID)
		if err := a.api.DeleteLoadBalancer(ctx, lb.ID); err != nil && !vultr.IsNotFound(err) && !vultr.IsConflict(err) {
			return left, err
		}
	}
	machines, err := a.api.Instances(ctx, 0)
	if err != nil {
		return left, err
	}
	for _, machine := range machines.Items {
		if !slices.Contains(machine.Tags, accountMark) {
			continue
		}
		left = append(left, "instance "+machine.ID)
		if err := a.call(ctx, http.MethodDelete, "/v2/instances/"+machine.ID, nil, nil); err != nil {
			a.Logf("once more: %v", err) // it is being made, or deleted already
		}
	}
	return left, nil
}

// uid returns the UID of a Service of this run.
func (a *account) uid(number int) types.UID {
	return types.UID(fmt.Sprintf("%s-8%03x-%012x", markedUIDs, number, a.began.Unix()))
}

// start runs a controller that knows nothing but what is written down.
func (a *account) start(ctx context.Context) error {
	client := a.kube.client(directly)
	factory := informers.NewSharedInformerFactory(client, 0)
	endpointSlices := factory.Discovery().V1().EndpointSlices()
	if err := endpointSlices.Informer().SetTransform(slim.EndpointSlice); err != nil {
		return err
	}
	controller, err := servicelb.New(servicelb.Config{
		API: a.client(), Client: client, Recorder: diary{a}, Services: factory.Core().V1().Services(), Nodes: factory.Core().V1().Nodes(),
		EndpointSlices: endpointSlices, Region: func(context.Context, []*v1.Node) (string, error) { return a.region, nil },
		LabelInStatus: true, DriftPeriod: time.Minute,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it ends by stop alone, before the account is cleaned
	factory.Start(ctx.Done())
	var running sync.WaitGroup
	running.Go(func() { controller.Run(ctx, fewWorkers) })
	a.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
	return nil
}

// diary shows Events.
type diary struct{ account *account }

// Event shows one.
func (d diary) Event(_ runtime.Object, kind, reason, message string) {
	d.account.Logf("    %s %s: %s", kind, reason, message)
}

// Eventf is Event with a format.
func (d diary) Eventf(about runtime.Object, kind, reason, format string, args ...any) {
	d.Event(about, kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf is Eventf; nobody looks at the annotations.
func (d diary) AnnotatedEventf(about runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	d.Eventf(about, kind, reason, format, args...)
}

// boots makes the machine, which serves a page on each node port, and the cluster of it.
func (a *account) boots(ctx context.Context) error {
	for _, name := range []string{namespace, ledger.Namespace} {
		if _, err := a.user.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	var made struct {
		Instance struct {
			ID string `json:"id"`
		} `json:"instance"`
	}
	err := a.call(ctx, http.MethodPost, "/v2/instances", map[string]any{
		"region": a.region, "plan": accountPlan, "os_id": accountSystem, "label": accountMark, "tags": []string{accountMark}, "backups": "disabled",
		"user_data": base64.StdEncoding.EncodeToString([]byte(servesPages)),
	}, &made)
	if err != nil {
		return err
	}
	a.machine = made.Instance.ID
	err = a.await(ctx, 15*time.Minute, func() error {
		machine, err := a.api.Instance(ctx, a.machine)
		if err == nil && (machine.Status != "active" || machine.PowerStatus != "running" || machine.ServerStatus != "ok" || machine.MainIP == "") {
			err = fmt.Errorf("instance %s is %s, %s, %s, with address %q", machine.ID, machine.Status, machine.PowerStatus, machine.ServerStatus, machine.MainIP)
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = a.user.CoreV1().Nodes().Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: accountMark, Labels: map[string]string{v1.LabelTopologyRegion: a.region}},
		Spec:       v1.NodeSpec{ProviderID: "vultr://" + a.machine},
		Status:     v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return a.start(ctx)
}

// servesPages is what the machine does at its first boot.
const servesPages = `#!/bin/sh
ufw disable
mkdir -p /srv/pages
echo it works > /srv/pages/index.html
for port in 31080 31081 31082; do
	systemd-run --unit=pages-$port python3 -m http.server $port --directory /srv/pages
done
`
