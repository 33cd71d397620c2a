package lb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var errKilled = errors.New("the process was killed")

// process is a controller. Nothing that it does once it is dead has any effect.
type process struct {
	world  *world
	number int // of those that there were
	client *fake.Clientset
	dead   atomic.Bool
	stop   func() // returns when nothing of it runs any more
}

// start runs a new process, which has the lead from now on: nothing but what is written down in cluster and cloud is known to it.
func (w *world) start() *process {
	w.Helper()
	w.started++
	p := &process{world: w, number: w.started}
	w.tell("#%d starts", p.number)
	p.client = w.kube.client(p.ask)
	factory := informers.NewSharedInformerFactory(p.client, 0)
	endpointSlices := factory.Discovery().V1().EndpointSlices()
	if err := endpointSlices.Informer().SetTransform(slim.EndpointSlice); err != nil {
		w.Fatal(err)
	}
	controller, err := servicelb.New(servicelb.Config{
		API:            w.newClient(func(http.RoundTripper) http.RoundTripper { return p }),
		Client:         p.client,
		Recorder:       recorder{w},
		Services:       factory.Core().V1().Services(),
		Nodes:          factory.Core().V1().Nodes(),
		EndpointSlices: endpointSlices,
		Region:         func(context.Context, []*v1.Node) (string, error) { return region, nil },
		LabelInStatus:  true,
		DriftPeriod:    driftPeriod,
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	factory.Start(ctx.Done())
	var running sync.WaitGroup
	running.Go(func() { controller.Run(ctx, w.workers) })
	p.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
	w.lead, w.processes = p, append(w.processes, p)
	return p
}

func (w *world) newClient(around func(http.RoundTripper) http.RoundTripper) *vultr.Client {
	w.Helper()
	client, err := vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, Around: around})
	if err != nil {
		w.Fatal(err)
	}
	return client
}

// RoundTrip is what lies between the client of the API and the network.
func (p *process) RoundTrip(req *http.Request) (answer *http.Response, err error) {
	if p.dead.Load() {
		return nil, errKilled
	}
	p.world.calls.Add(1)
	defer func() {
		switch {
		case err != nil:
			p.world.tell("#%d %s %s: %v", p.number, req.Method, req.URL.Path, err)
		case req.Method != http.MethodGet || answer.StatusCode != http.StatusOK:
			p.world.tell("#%d %s %s: %d", p.number, req.Method, req.URL.Path, answer.StatusCode)
		}
	}()
	if req.Method != http.MethodGet {
		p.world.changes(req)
	}
	do := func() (*http.Response, error) { return p.world.road.RoundTrip(req) }
	if how := p.world.strike.next(nameOfCall(req)); how != nil {
		return how.call(p, req, do)
	}
	return do()
}

// ask is what lies between the client of the API server and that.
func (p *process) ask(action clienttesting.Action, do reaction) (handled bool, answer runtime.Object, err error) {
	if p.dead.Load() {
		return true, nil, errKilled
	}
	if !slices.Contains([]string{"create", "update", "patch", "delete"}, action.GetVerb()) {
		return do()
	}
	p.world.writes.Add(1)
	defer func() { p.world.tell("#%d %s %s: %v", p.number, nameOfWrite(action), textOf(action), err) }()
	if how := p.world.strike.next(nameOfWrite(action)); how != nil {
		return how.write(p, do)
	}
	return do()
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// nameOfCall is for people.
func nameOfCall(req *http.Request) string {
	return req.Method + " " + uuids.ReplaceAllString(req.URL.Path, "ID")
}

// apiserver begins the names of all writes to the API server.
const apiserver = "apiserver: "

func nameOfWrite(action clienttesting.Action) string {
	name := apiserver + action.GetVerb() + " " + action.GetResource().Resource
	if below := action.GetSubresource(); below != "" {
		name += "/" + below
	}
	return name
}

// textOf is for people.
func textOf(action clienttesting.Action) string {
	switch a := action.(type) {
	case clienttesting.PatchAction:
		return a.GetName() + " " + string(a.GetPatch())
	case clienttesting.UpdateAction: // also one that creates
		if object, err := meta.Accessor(a.GetObject()); err == nil {
			return object.GetName()
		}
	}
	return ""
}

// changes notes a request that changes something, and what it must not change.
func (w *world) changes(req *http.Request) {
	w.sent.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.foreign {
		if strings.Contains(req.URL.Path, id) {
			w.harm = append(w.harm, fmt.Sprintf("%s %s, which is somebody else's", req.Method, req.URL.Path))
		}
	}
}

// recorder keeps the Events of all processes.
type recorder struct{ world *world }

// Event keeps one.
func (r recorder) Event(about runtime.Object, kind, reason, message string) {
	name := ""
	if service, ok := about.(*v1.Service); ok {
		name = nameOf(service) + ": "
	}
	r.world.tell("%s%s %s %s", name, kind, reason, message)
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	r.world.events = append(r.world.events, name+kind+" "+reason+" "+message)
}

// nameOf is what Events call a Service.
func nameOf(s *v1.Service) string { return s.Namespace + "/" + s.Name }

// Eventf is Event with a format.
func (r recorder) Eventf(about runtime.Object, kind, reason, format string, args ...any) {
	r.Event(about, kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf is Eventf; nobody looks at the annotations.
func (r recorder) AnnotatedEventf(about runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(about, kind, reason, format, args...)
}
