package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/cloud-provider/app"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
)

// program is one running process of the program.
type program struct {
	cmd     *exec.Cmd
	health  string
	serving string
	out     *output
	ended   chan struct{}
}

// output is what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to it.
func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts the program with leader election in front of the rig's two servers. A lease lasts a minute, so that who gets
// it sooner got it because it was given back.
func (r *nodesRig) launch(t *testing.T, args ...string) *program {
	t.Helper()
	dir, serving, health := t.TempDir(), testaddr.Next(), testaddr.Next()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	config := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '" + r.server.url + "'}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--cloud-provider=vultr", "--kubeconfig=" + kubeconfig, "--configure-cloud-routes=false", "--cert-dir=" + dir,
		"--bind-address=" + serving.Addr().String(), "--secure-port=" + strconv.Itoa(int(serving.Port())), "--vultr-health-address=" + health.String(),
		"--leader-elect-lease-duration=60s", "--leader-elect-renew-deadline=30s", "--leader-elect-retry-period=200ms", "--vultr-drift-period=1s",
	}, args...)
	p := &program{cmd: exec.CommandContext(t.Context(), os.Args[0], args...), health: "http://" + health.String(), serving: "https://" + serving.String(), out: &output{}, ended: make(chan struct{})}
	p.cmd.Env = []string{asProgram + "=1", "HOME=" + dir, "GOCOVERDIR=" + counters(t), "VULTR_API_KEY=" + r.cloud.Key, "API_URL=" + r.cloud.URL}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says it
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		if t.Failed() {
			t.Logf("%s", p.out)
		}
	})
	return p
}

// eventually waits for what happens in other processes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-limit:
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

// says asks the process how it is: the code, and the words.
func (p *program) says(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(p.health + path)
	if err != nil {
		return 0, err.Error() // it does not listen yet
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (p *program) becomes(t *testing.T, code int, words string) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("it said last: %s", last)
		}
	}()
	eventually(t, "/readyz answers "+strconv.Itoa(code)+" and "+words, func() bool {
		got, text := p.says(t, "/readyz")
		last = text
		return got == code && strings.Contains(text, words)
	})
}

// terminate does what the kubelet does, and returns how the process ended and how long that took.
func (p *program) terminate(t *testing.T) (int, time.Duration) {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(began)
}

// A rolling update: the process that leads is ended and gives the lease back, and the one that stands by leads in a moment.
// Each says which of the two it is.
func TestTheLeaseIsHandedOver(t *testing.T) {
	r := newNodesRig(t, 1)
	first := r.launch(t)
	first.becomes(t, http.StatusOK, "[+] role: leads since ")
	holder, _ := r.server.holder()
	if holder == "" {
		t.Fatal("it leads without the lease")
	}
	r.await(t, 1)

	second := r.launch(t)
	second.becomes(t, http.StatusOK, "[+] role: stand-by; "+holder+" leads\n")
	if code, text := second.says(t, "/livez"); code != http.StatusOK {
		t.Errorf("a stand-by that lives says %d %s", code, text)
	}

	code, took := first.terminate(t)
	if code != 0 || took > 10*time.Second {
		t.Errorf("it ended with %d after %s", code, took)
	}
	if out := first.out.String(); !strings.Contains(out, "Released the lease") {
		t.Error("the lease was not given back")
	}
	second.becomes(t, http.StatusOK, "[+] role: leads since ")
	if now, transitions := r.server.holder(); now == "" || now == holder || transitions != 1 {
		t.Errorf("the lease is %q's after %d transitions, it was %q's", now, transitions, holder)
	}

	third := r.launch(t)
	third.becomes(t, http.StatusOK, "[+] role: stand-by; ")
	if code, took := third.terminate(t); code != 0 || took > 10*time.Second {
		t.Errorf("a stand-by ended with %d after %s", code, took)
	}
	if now, transitions := r.server.holder(); now == "" || transitions != 1 {
		t.Errorf("a stand-by that ended left the lease to %q, after %d transitions", now, transitions)
	}
	if code, _ := second.terminate(t); code != 0 {
		t.Errorf("the last one ended with %d", code)
	}
	if now, _ := r.server.holder(); now != "" {
		t.Errorf("the lease is still %q's", now)
	}
}

// A process that loses the lease ends at once, and without giving anything back: it is another's.
func TestWhoLosesTheLeaseEnds(t *testing.T) {
	r := newNodesRig(t, 1)
	p := r.launch(t, "--leader-elect-renew-deadline=5s")
	p.becomes(t, http.StatusOK, "[+] role: leads since ")
	r.server.mu.Lock()
	other := r.server.leases["cloud-controller-manager"].DeepCopy()
	name := "another"
	other.Spec.HolderIdentity = &name
	r.server.version++
	other.ResourceVersion = strconv.Itoa(r.server.version)
	r.server.leases["cloud-controller-manager"] = other
	r.server.mu.Unlock()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatal("it goes on without the lease")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.out.String(), "no longer leads") {
		t.Errorf("it ended with %d", code)
	}
	if now, _ := r.server.holder(); now != "another" {
		t.Errorf("the lease is %q's", now)
	}
}

// A key that is refused while the program runs makes it unready and is told once; nothing restarts, and all is well again
// when it is accepted.
func TestRefusedKeyMakesUnready(t *testing.T) {
	r := newNodesRig(t, 1)
	p := r.launch(t)
	p.becomes(t, http.StatusOK, "[+] key: last accepted at ")
	r.await(t, 1)

	r.cloud.Sim.SetKeys([]string{"ANOTHERKEY0123456789"})
	p.becomes(t, http.StatusServiceUnavailable, "[-] key: refused since ")
	if code, text := p.says(t, "/livez"); code != http.StatusOK {
		t.Errorf("/livez says %d %s", code, text)
	}
	if _, text := p.says(t, "/readyz"); !strings.Contains(text, "[+] role: leads since ") || strings.Contains(text, r.cloud.Key) {
		t.Errorf("/readyz says %s", text)
	}
	eventually(t, "an Event tells of it", func() bool { return len(r.server.told("APIKeyRefused")) > 0 })
	if told := r.server.told("APIKeyRefused"); len(told) != 1 || !strings.HasPrefix(told[0], "Lease cloud-controller-manager: ") || strings.Contains(told[0], r.cloud.Key) {
		t.Errorf("told: %q", told)
	}

	r.cloud.Sim.SetKeys([]string{r.cloud.Key})
	p.becomes(t, http.StatusOK, "[+] key: last accepted at ")
	eventually(t, "an Event tells that it is over", func() bool { return len(r.server.told("APIKeyAccepted")) == 1 })
	select {
	case <-p.ended:
		t.Error("it ended")
	default:
	}
}

// /configz says how the process is set up, the leader election included, which the library knows nothing of.
func TestConfigzShowsTheElection(t *testing.T) {
	for _, elects := range []bool{true, false} {
		t.Run(strconv.FormatBool(elects), func(t *testing.T) {
			r := newNodesRig(t, 1)
			p := r.launch(t, "--leader-elect="+strconv.FormatBool(elects), "--authorization-always-allow-paths=/configz")
			p.becomes(t, http.StatusOK, "[+] role: ")
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the process made its certificate itself
			defer client.CloseIdleConnections()
			resp, err := client.Get(p.serving + "/configz")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var shown map[string]struct {
				Kind    string
				Generic struct {
					LeaderElection struct {
						LeaderElect   *bool
						ResourceName  string
						LeaseDuration string
					}
				}
			}
			if err := json.NewDecoder(resp.Body).Decode(&shown); err != nil {
				t.Fatalf("%s: %v", resp.Status, err)
			}
			got := shown[app.ConfigzName]
			election := got.Generic.LeaderElection
			if len(shown) != 1 || got.Kind != "CloudControllerManagerConfiguration" || election.LeaderElect == nil || *election.LeaderElect != elects ||
				election.ResourceName != "cloud-controller-manager" || election.LeaseDuration != "1m0s" {
				t.Errorf("it shows %+v", shown)
			}
		})
	}
}

// The platform has no routes for pods: who asks for them is told so once, and everything else works.
func TestRoutesStayOff(t *testing.T) {
	r := newNodesRig(t, 1)
	p := r.launch(t, "--configure-cloud-routes=true")
	p.becomes(t, http.StatusOK, "[+] role: leads since ")
	r.await(t, 1)
	if n := strings.Count(p.out.String(), "does not support routes"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}
