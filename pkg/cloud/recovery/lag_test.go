package recovery_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// weather is a simulated cloud whose reads lag, and a cluster on it.
type weather struct {
	*scene
	sim  *simtest.Cloud
	http *http.Client
}

// inWeather runs a test on the platform's own delays in fake time, with an old node b.
func inWeather(t *testing.T, lags simulator.ReadLags, f func(*weather)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cloud := simtest.Start(t, simtest.Options{Bubble: true, Config: simulator.Config{ReadLags: lags}})
		t.Cleanup(func() { time.Sleep(5 * time.Minute) }) // of the fake clock: what is under way ends
		api, err := vultr.New(vultr.Config{BaseURL: cloud.URL, Key: cloud.Key, DialContext: cloud.Dial})
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DialContext: cloud.Dial}
		t.Cleanup(transport.CloseIdleConnections)
		w := &weather{
			scene: &scene{
				T: t, recorder: record.NewFakeRecorder(100),
				client: fake.NewSimpleClientset(node("b", cloud.AddInstance(simulator.NewServer{Label: "b"}))),
			},
			sim: cloud, http: &http.Client{Transport: transport},
		}
		w.roster = roster.New(api)
		w.prober = recovery.NewProber(api, w.roster, lister{w.client}, breaker.New(breaker.DefaultLimit))
		w.departures = recovery.NewDepartures(w.prober, w.client, func() bool { return false })
		f(w)
	})
}

func (w *weather) call(method, path, body string) []byte {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), method, w.sim.URL+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.sim.Key)
	response, err := w.http.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	var answer json.RawMessage
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode >= 300 {
		w.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	return answer
}

// order makes the machine a and returns its ID.
func (w *weather) order() string {
	w.Helper()
	var made struct {
		Instance struct{ ID string }
	}
	if err := json.Unmarshal(w.call(http.MethodPost, "/v2/instances", `{"region":"ewr","plan":"vc2-1c-1gb","os_id":2136,"label":"a"}`), &made); err != nil {
		w.Fatal(err)
	}
	return made.Instance.ID
}

// register makes the Node a, whose kubelet is not heard of from then on.
func (w *weather) register(id string) {
	w.Helper()
	n := node("a", id)
	n.CreationTimestamp = metav1.Now()
	n.Status.NodeInfo.BootID = "boot of " + id
	n.Status.Conditions[0] = v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionUnknown, LastTransitionTime: metav1.Now(), LastHeartbeatTime: metav1.Now()}
	if _, err := w.client.CoreV1().Nodes().Create(w.Context(), n, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// departs asks as the library does and returns after how long the Node may be deleted, 0 if it never was.
func (w *weather) departs(within time.Duration) time.Duration {
	w.Helper()
	began := time.Now()
	for time.Since(began) < within {
		if w.departed("a") {
			return time.Since(began)
		}
		time.Sleep(5 * time.Second) // of the fake clock
	}
	return 0
}

// Reads of any kind may lag behind by a minute and more. Nothing that exists is declared dead for that.
func TestReadsThatLag(t *testing.T) {
	for name, lags := range map[string]simulator.ReadLags{
		"not at all":       nil,
		"all by a minute":  {"all": time.Minute},
		"all by two":       {"all": 2 * time.Minute},
		"GETs by a minute": {"instances.get": time.Minute},
		"lists by two":     {"instances.list": 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inWeather(t, lags, func(w *weather) {
				after(2 * time.Minute)
				first := w.order()
				after(45 * time.Second) // as fast as a machine may be there
				w.register(first)
				if took := w.departs(10 * time.Minute); took > 0 {
					t.Fatalf("a fresh machine was declared dead after %s", took)
				}
				w.call(http.MethodDelete, "/v2/instances/"+first, "")
				if took := w.departs(5 * time.Minute); took == 0 {
					t.Fatal("a destroyed machine is never noticed")
				}
			})
		})
		t.Run(name+", replaced", func(t *testing.T) {
			inWeather(t, lags, func(w *weather) {
				first := w.order()
				after(10 * time.Minute)
				w.register(first)
				after(2 * time.Minute)
				w.prober.Observe([]*v1.Node{w.node("a"), w.node("b")})
				after(10 * time.Minute)
				w.call(http.MethodDelete, "/v2/instances/"+first, "")
				w.order()
				after(90 * time.Second) // it boots, registers as the old Node, and is not heard of for a while
				w.compared()
				w.update("a", func(n *v1.Node) { n.Status.NodeInfo.BootID = "boot of another" })
				w.prober.Observe([]*v1.Node{w.node("a"), w.node("b")})
				after(40 * time.Second)
				w.ready("a", v1.ConditionUnknown)
				if took := w.departs(10 * time.Minute); took > 0 {
					t.Fatalf("the new machine's Node was declared dead after %s", took)
				}
			})
		})
	}
}
