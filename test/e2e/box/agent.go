package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// searchPath is where programs of a box are found.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Init turns the calling process, started with the clone flags Namespaces, into
// the init of the box that the file describes. It returns only on failure.
func Init(ctx context.Context, specFile string) error {
	spec, err := read(specFile)
	if err != nil {
		return err
	}
	if err := cgroup.Join(spec.Cgroup); err != nil {
		return fmt.Errorf("join cgroup %s: %w", spec.Cgroup, err)
	}
	if err := enter(spec); err != nil {
		return err
	}
	// A box that is restarted finds the socket of its former life.
	if err := os.Remove(spec.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Setenv("PATH", searchPath); err != nil {
		return err
	}
	a := &agent{reaper: newReaper(), named: map[string]*child{}}
	go a.reaper.run()
	if err := a.loopback(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("unix", spec.socket())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: a.routes(), ReadHeaderTimeout: time.Minute}
	return server.Serve(listener)
}

// agent starts programs and opens connections in its box.
type agent struct {
	reaper *reaper
	mu     sync.Mutex
	named  map[string]*child
}

func (a *agent) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /start", answer(a.start))
	mux.HandleFunc("POST /run", answer(a.run))
	mux.HandleFunc("POST /signal", answer(a.signal))
	mux.HandleFunc("POST /programs", answer(a.programs))
	mux.HandleFunc("GET /dial", dial)
	return mux
}

// answer makes a handler of a function over values.
func answer[In, Out any](do func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			log.Printf("answer %s: %v", r.URL.Path, err)
		}
	}
}

func (a *agent) loopback(ctx context.Context) error {
	result, err := a.run(ctx, Program{Argv: []string{"ip", "link", "set", "lo", "up"}})
	if err != nil {
		return err
	}
	return result.err("ip link set lo up")
}

// start runs a program in the background, its output appended to its log.
func (a *agent) start(_ context.Context, p Program) (Started, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, known := a.named[p.Name]; known && !old.ended() {
		return Started{}, fmt.Errorf("%s runs already as process %d", p.Name, old.pid)
	}
	if err := os.MkdirAll(filepath.Dir(p.Log), 0o755); err != nil {
		return Started{}, err
	}
	output, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return Started{}, err
	}
	defer func() { _ = output.Close() }() // the child has its own
	c, err := a.launch(p, nil, output)
	if err != nil {
		return Started{}, err
	}
	a.named[p.Name] = c
	return Started{PID: c.pid}, nil
}

// run runs a program to its end.
func (a *agent) run(ctx context.Context, p Program) (Result, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = in.Close() }()
	stdin, err := pipeFrom(p.Stdin)
	if err != nil {
		return Result{}, err
	}
	c, err := a.launch(p, stdin, out)
	_ = out.Close() // the child has its own
	if stdin != nil {
		_ = stdin.Close()
	}
	if err != nil {
		return Result{}, err
	}
	// A caller that goes away must not leave the program behind.
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(-c.pid, unix.SIGKILL) })
	defer stop()
	output, err := io.ReadAll(in)
	<-c.done
	return Result{Code: exitCode(c.status), Output: string(output)}, err
}

// pipeFrom returns a file that reads as the text.
func pipeFrom(text string) (*os.File, error) {
	if text == "" {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		_, _ = w.WriteString(text) // a program that does not read to the end says so itself
		_ = w.Close()
	}()
	return r, nil
}

// launch starts a program in a process group of its own.
func (a *agent) launch(p Program, stdin, output *os.File) (*child, error) {
	path, err := exec.LookPath(p.Argv[0])
	if err != nil {
		return nil, err
	}
	if stdin == nil {
		if stdin, err = os.Open(os.DevNull); err != nil {
			return nil, err
		}
		defer func() { _ = stdin.Close() }()
	}
	env := slices.Concat([]string{"PATH=" + searchPath, "HOME=/root", "LANG=C.UTF-8"}, p.Env)
	return a.reaper.start(path, p.Argv, &os.ProcAttr{
		Dir: "/", Env: env, Files: []*os.File{stdin, output, output},
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: p.Cloneflags},
	})
}

// signal sends a signal to a program and, if asked to, waits for its end.
func (a *agent) signal(ctx context.Context, s Signal) (struct{}, error) {
	a.mu.Lock()
	c, known := a.named[s.Name]
	a.mu.Unlock()
	if !known {
		return struct{}{}, fmt.Errorf("no program %s was started", s.Name)
	}
	if !c.ended() {
		if err := unix.Kill(c.pid, unix.Signal(s.Signal)); err != nil && !errors.Is(err, unix.ESRCH) {
			return struct{}{}, err
		}
	}
	if !s.Wait {
		return struct{}{}, nil
	}
	select {
	case <-c.done:
		return struct{}{}, nil
	case <-ctx.Done():
		return struct{}{}, fmt.Errorf("%s (process %d) does not end: %w", s.Name, c.pid, ctx.Err())
	}
}

func (a *agent) programs(context.Context, struct{}) ([]Status, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Status
	for name, c := range a.named {
		s := Status{Name: name, PID: c.pid, Running: !c.ended()}
		if !s.Running {
			s.Code = exitCode(c.status)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y Status) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
