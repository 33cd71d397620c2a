package simulator_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// raw is a cloud on a real port, asked without an HTTP client's good manners.
type raw struct {
	*testing.T
	sim     *simulator.Simulator
	address string
}

func newRaw(t *testing.T, cfg simulator.Config) *raw {
	t.Helper()
	sim, err := simulator.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(func() {
		err := sim.Close()
		server.CloseClientConnections()
		server.Close()
		if err != nil {
			t.Error(err)
		}
	})
	return &raw{T: t, sim: sim, address: server.Listener.Addr().String()}
}

// dial opens a connection and sends a request.
func (r *raw) dial(method, path, body string) net.Conn {
	r.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: api.vultr.com\r\nAuthorization: Bearer k\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	if err != nil {
		r.Fatal(err)
	}
	return conn
}

// ask returns everything that comes back, and how the connection ended: nil is in order.
func (r *raw) ask(method, path, body string) (head, rest string, end error) {
	r.Helper()
	text, end := io.ReadAll(r.dial(method, path, body))
	head, rest, _ = strings.Cut(string(text), "\r\n\r\n")
	return head, rest, end
}

const newVolume = `{"region":"ewr","size_gb":10}`

// TestEveryKindOfFault sends one request to make a volume through each of them.
func TestEveryKindOfFault(t *testing.T) {
	cases := []struct {
		fault   simulator.Fault
		head    string // of the answer; "" = none came
		body    string // a regular expression
		reset   bool   // how the connection ends
		volumes int
	}{
		{simulator.Fault{Action: simulator.FaultStatus, Status: 503, RetryAfter: 7}, "HTTP/1.1 503", `"status":503`, false, 0},
		{simulator.Fault{Action: simulator.FaultStatusAfter, Status: 504}, "HTTP/1.1 504", `Gateway Timeout`, false, 1},
		{simulator.Fault{Action: simulator.FaultLatency, LatencyMS: 50}, "HTTP/1.1 202", `"mount_id"`, false, 1},
		{simulator.Fault{Action: simulator.FaultResetBefore}, "", ``, true, 0},
		{simulator.Fault{Action: simulator.FaultResetAfter}, "", ``, true, 1},
		{simulator.Fault{Action: simulator.FaultTruncate}, "HTTP/1.1 202", `^\{"block":\{"id":"[^}]*$`, false, 1},
		{simulator.Fault{Action: simulator.FaultNotJSON}, "HTTP/1.1 202", `^<html>.*502 Bad Gateway`, false, 1},
		{simulator.Fault{Action: simulator.FaultNotJSON, Status: 200, Body: "oops", ContentType: "application/json"}, "HTTP/1.1 200", `^oops$`, false, 1},
		{simulator.Fault{Action: simulator.FaultDuplicate}, "HTTP/1.1 202", `"mount_id"`, false, 2},
	}
	for _, c := range cases {
		t.Run(string(c.fault.Action)+c.fault.Body, func(t *testing.T) {
			r := newRaw(t, simulator.Config{})
			c.fault.Times = 1
			if _, err := r.sim.AddFault(c.fault); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			head, body, end := r.ask("POST", "/v2/blocks", newVolume)
			if !strings.HasPrefix(head, c.head) || (c.head == "") != (head == "") || !regexp.MustCompile(c.body).MatchString(body) {
				t.Errorf("answer %q %q", head, body)
			}
			if errors.Is(end, syscall.ECONNRESET) != c.reset {
				t.Errorf("the connection ended with %v", end)
			}
			if c.fault.RetryAfter > 0 && !strings.Contains(head, "Retry-After: 7") {
				t.Errorf("no Retry-After: %q", head)
			}
			if wait := c.fault.Latency(); time.Since(began) < wait {
				t.Errorf("answered before %v", wait)
			}
			if want := c.fault.ContentType; want != "" && !strings.Contains(head, "Content-Type: "+want) {
				t.Errorf("head %q", head)
			}
			if c.fault.Action == simulator.FaultTruncate && !strings.Contains(head, "Content-Length: ") {
				t.Errorf("the client cannot know that something is missing: %q", head)
			}
			if n := len(r.sim.View().Blocks); n != c.volumes {
				t.Errorf("%d volumes, want %d", n, c.volumes)
			}
			if log := r.sim.Requests(0); len(log) != 1 || len(log[0].Faults) != 1 {
				t.Errorf("log %+v", log)
			}
			// It was for one request only.
			if head, _, end := r.ask("POST", "/v2/blocks", newVolume); !strings.HasPrefix(head, "HTTP/1.1 202") || end != nil {
				t.Errorf("the next request: %q, %v", head, end)
			}
		})
	}
}

// TestDuplicateAnswers: the work is done twice, in this order, and the client gets the answer that the fault names.
func TestDuplicateAnswers(t *testing.T) {
	for answer, made := range map[simulator.FaultAnswer]int{"": 1, simulator.FaultAnswerSecond: 1, simulator.FaultAnswerFirst: 0} {
		bubble(t, simulator.Config{}, func(w *world) {
			w.fault(simulator.Fault{Action: simulator.FaultDuplicate, Method: "POST", Times: 1, Answer: answer})
			id := w.post("/v2/blocks", newVolume).is(202).text("block.id")
			if volumes := w.sim.View().Blocks; len(volumes) != 2 || volumes[made].ID != id {
				w.Errorf("answer %q: %s came, there are %v", answer, id, volumes)
			}
		})
	}
	// What can be done only once is refused the second time.
	for answer, status := range map[simulator.FaultAnswer]int{simulator.FaultAnswerSecond: 404, simulator.FaultAnswerFirst: 204} {
		bubble(t, simulator.Config{}, func(w *world) {
			b := w.nvme()
			w.fault(simulator.Fault{Action: simulator.FaultDuplicate, Operation: "delete_block", Answer: answer})
			w.delete("/v2/blocks/" + b).is(status)
		})
	}
}

// TestHang: nobody answers until the client gives up, before or after the work.
func TestHang(t *testing.T) {
	for action, volumes := range map[simulator.FaultAction]int{simulator.FaultHang: 0, simulator.FaultHangAfter: 1} {
		t.Run(string(action), func(t *testing.T) {
			r := newRaw(t, simulator.Config{})
			id, err := r.sim.AddFault(simulator.Fault{Action: action, Method: "POST"})
			if err != nil {
				t.Fatal(err)
			}
			conn := r.dial("POST", "/v2/blocks", newVolume)
			if err := r.sim.WaitHeld(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			for {
				changed := r.sim.Changed()
				if len(r.sim.Requests(0)) > 0 {
					break
				}
				select {
				case <-changed:
				case <-time.After(time.Minute):
					t.Fatal("the request does not end though the client is gone")
				}
			}
			if log := r.sim.Requests(0); log[0].Status != 0 {
				t.Errorf("answered %d", log[0].Status)
			}
			if n := len(r.sim.View().Blocks); n != volumes {
				t.Errorf("%d volumes, want %d", n, volumes)
			}
			// Who does not give up is cut off when the fault ends.
			conn = r.dial("POST", "/v2/blocks", newVolume)
			if err := r.sim.WaitHeld(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			r.sim.RemoveFault(id)
			if text, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || len(text) > 0 {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

// TestStaleReads: what happened since the fault began is not to be seen, in lists and by ID, but did happen.
func TestStaleReads(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		old, gone := w.nvme(), w.nvme()
		i := w.server(simulator.NewServer{Label: "n"})
		id := w.fault(simulator.Fault{Action: simulator.FaultStale, Path: "^/v2/blocks"})
		fresh := w.nvme()
		w.delete("/v2/blocks/" + gone).is(204)
		w.post("/v2/blocks/"+old+"/attach", `{"live":true,"instance_id":"`+i+`"}`).is(204)
		w.pass(time.Minute)
		w.get("/v2/blocks").is(200).has("meta.total", 2)
		w.block(old).has("block.attached_to_instance", "")
		w.block(gone)
		w.get("/v2/blocks/" + fresh).is(404)
		w.post("/v2/blocks", `{}`).is(400) // writes are none of its business
		w.get("/v2/instances").is(200).has("meta.total", 1)
		w.sim.RemoveFault(id)
		w.get("/v2/blocks").is(200).has("meta.total", 2)
		w.block(old).has("block.attached_to_instance", i)
		w.block(fresh)
		w.get("/v2/blocks/" + gone).is(404)
	})
}

// TestProbability: the same seed hits the same requests, and about as many as it should.
func TestProbability(t *testing.T) {
	bubble(t, simulator.Config{}, func(w *world) {
		pattern := func(f simulator.Fault) (hits string) {
			f.Action, f.Status = simulator.FaultStatus, 503
			id := w.fault(f)
			for range 200 {
				hits += map[int]string{200: ".", 503: "x"}[w.get("/v2/account").status]
			}
			w.sim.RemoveFault(id)
			return hits
		}
		first := pattern(simulator.Fault{Probability: 0.25, Seed: 7})
		if n := strings.Count(first, "x"); n < 25 || n > 80 {
			t.Errorf("%d of 200 were hit with a probability of 0.25", n)
		}
		if again := pattern(simulator.Fault{Probability: 0.25, Seed: 7}); again != first {
			t.Errorf("the same seed hit\n%s and\n%s", first, again)
		}
		if other := pattern(simulator.Fault{Probability: 0.25, Seed: 8}); other == first {
			t.Error("another seed hits the same")
		}
		if late := pattern(simulator.Fault{Probability: 0.25, Seed: 7, Nth: 101, Times: 3}); strings.Contains(late[:100], "x") || strings.Count(late, "x") != 3 {
			t.Errorf("from the 101st on, three times: %s", late)
		}
		w.fault(simulator.Fault{Action: simulator.FaultLatency, LatencyMS: 1, Probability: 0.5})
		if f := w.sim.Faults()[0]; f.Seed == 0 {
			t.Error("a seed that was chosen is not told, so nobody can repeat it")
		}
	})
}

// TestFaultPlans reads them as files and by HTTP.
func TestFaultPlans(t *testing.T) {
	for text, fault := range map[string]string{
		`{"action":"status"}`:                                     "fault plan",
		`[{"action":"status","status":503,"opration":""}]`:        "opration",
		`[{"action":"status"},{"action":"mood"}]`:                 `fault 2: action "mood"`,
		`[{"action":"hang","probability":2}]`:                     "probability 2",
		`[{"action":"not-json","body":"{}"}]`:                     "is JSON",
		`[{"action":"hang","id":"a"},{"action":"hang","id":"a"}]`: `"a"`,
		`[{"action":"duplicate","answer":"third"}]`:               `answer "third"`,
		`[{"action":"hang","answer":"first"}]`:                    "others take none",
		`[{"action":"hang","lag_ms":1}]`:                          "lag_ms is for the action stale",
		`[{"action":"stale","lag_ms":-1}]`:                        "must not be negative",
		`[{"action":"stale","lag_ms":3600001}]`:                   "is above 3600000",
		`[]]`:                                                     "follows",
	} {
		if _, err := simulator.ParseFaults([]byte(text)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v, want %q", text, err, fault)
		}
	}
	r := newRaw(t, simulator.Config{})
	operator := httptest.NewServer(r.sim.AdminHandler())
	t.Cleanup(operator.Close)
	post := func(plan string) (int, string) {
		resp, err := http.Post(operator.URL+"/faults", "application/json", strings.NewReader(plan))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, text := post(`[{"action":"hang","id":"taken"},{"action":"stale"}]`); status != 201 || strings.Count(text, `"id"`) != 2 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := post(`[{"action":"reset-before"},{"action":"hang","id":"taken"}]`); status != 400 || len(r.sim.Faults()) != 2 {
		t.Errorf("a plan that fails half-way: %d %s, %d in force", status, text, len(r.sim.Faults()))
	}
	if status, text := post(`{"action":"hang","pth":"x"}`); status != 400 || !strings.Contains(text, "pth") {
		t.Errorf("an unknown condition: %d %s", status, text)
	}
}

// TestFaultsAreDocumented puts every example of the manual in force and demands a row for every action.
func TestFaultsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	var shown []string
	examples := regexp.MustCompile(`(?m)^\| (.+) \| .* \| .?(\{"action".*\}).? \|$`).FindAllStringSubmatch(page, -1)
	for _, row := range examples {
		plan, err := simulator.ParseFaults([]byte("[" + row[2] + "]"))
		if err != nil {
			t.Errorf("%s: %v", row[2], err)
			continue
		}
		if !strings.Contains(row[1], "`"+string(plan[0].Action)+"`") {
			t.Errorf("the example of %s is one of %s", row[1], plan[0].Action)
		}
		for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[1], -1) {
			shown = append(shown, name[1])
		}
	}
	for _, action := range simulator.FaultActions() {
		if !slices.Contains(shown, string(action)) {
			t.Errorf("the manual has no example of %s", action)
		}
	}
	if len(shown) != len(simulator.FaultActions()) {
		t.Errorf("the manual shows %v, there are %v", shown, simulator.FaultActions())
	}
	// The plan that is shown as a file.
	fence := regexp.MustCompile("(?s)```json\n(\\[.*?\\])\n```").FindStringSubmatch(page)
	if fence == nil {
		t.Fatal("the manual shows no plan")
	}
	if plan, err := simulator.ParseFaults([]byte(fence[1])); err != nil || len(plan) < 2 {
		t.Errorf("the manual's plan: %v", err)
	}
	for _, command := range regexp.MustCompile(`/faults -d '(.*)'`).FindAllStringSubmatch(page, -1) {
		if _, err := simulator.ParseFaults([]byte("[" + command[1] + "]")); err != nil {
			t.Errorf("%s: %v", command[1], err)
		}
	}
	// Every field of the JSON form is explained.
	form, err := json.Marshal(simulator.Fault{ID: "x", Method: "x", Path: "x", Operation: "x", Nth: 1, Times: 1, Probability: 1, Seed: 1, Status: 1, Body: "x", RetryAfter: 1, ContentType: "x", LatencyMS: 1, LagMS: 1, Answer: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`"([a-z_]+)":`).FindAllStringSubmatch(string(form), -1) {
		if !strings.Contains(page, "`"+name[1]+"`") {
			t.Errorf("the manual does not explain %s", name[1])
		}
	}
}

// A client that reads its half of an answer as HTTP notices that the rest is missing.
func TestTruncatedAnswerIsNoticed(t *testing.T) {
	r := newRaw(t, simulator.Config{})
	if _, err := r.sim.AddFault(simulator.Fault{Action: simulator.FaultTruncate}); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(r.dial("GET", "/v2/regions", "")), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(text) == 0 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if log := r.sim.Requests(0); len(log) != 1 || !strings.Contains(log[0].Error, "cut off") {
		t.Errorf("log %+v", log)
	}
}
