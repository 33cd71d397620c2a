package box

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Program is something to start in a box.
type Program struct {
	// Name is how Signal and Programs call it.
	Name string
	Argv []string
	Env  []string // beside PATH, HOME and LANG
	// Stdin is what Run gives it to read.
	Stdin string
	// Log takes what a started program writes.
	Log string
	// Cloneflags tell in which namespaces of its own the program is: Namespaces if it is the init of a box inside the box.
	Cloneflags uintptr
}

// Started tells of a program that was started.
type Started struct {
	PID int // in the box's PID namespace
}

// Result tells of a program that was run.
type Result struct {
	Code   int
	Output string
}

func (r Result) err(what string) error {
	if r.Code == 0 {
		return nil
	}
	return fmt.Errorf("%s: exit code %d: %s", what, r.Code, strings.TrimSpace(r.Output))
}

// Signal is a signal for a started program.
type Signal struct {
	Name   string
	Signal int
	// Wait for its end.
	Wait bool
}

// Status tells of a program that was started at some time.
type Status struct {
	Name    string
	PID     int
	Running bool
	Code    int // when it has ended: its exit code, or 128 and the signal
}

// Client talks to the agent of a box.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient talks to the agent of the box with that directory.
func NewClient(dir string) *Client {
	c := &Client{socket: Socket(dir)}
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.connect, MaxIdleConnsPerHost: 4}}
	return c
}

func (c *Client) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.socket)
}

// WaitReady waits until the agent answers. The channel says when its process has ended.
func (c *Client) WaitReady(ctx context.Context, ended <-chan error) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/ready", nil)
		if err != nil {
			return err
		}
		response, err := c.http.Do(request)
		if err == nil {
			return response.Body.Close()
		}
		select {
		case why := <-ended:
			return fmt.Errorf("the box did not start: %w", why)
		case <-ctx.Done():
			return fmt.Errorf("the box does not answer: %w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Start starts a program in the background and returns its PID in the box.
func (c *Client) Start(ctx context.Context, p Program) (int, error) {
	var started Started
	err := c.call(ctx, "/start", p, &started)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", p.Name, err)
	}
	return started.PID, nil
}

// Run runs a program to its end and returns what it wrote; an exit code other than 0 is an error.
func (c *Client) Run(ctx context.Context, argv ...string) (string, error) {
	return c.RunProgram(ctx, Program{Argv: argv})
}

// RunProgram is Run with an environment or something to read.
func (c *Client) RunProgram(ctx context.Context, p Program) (string, error) {
	var result Result
	what := strings.Join(p.Argv, " ")
	if err := c.call(ctx, "/run", p, &result); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return result.Output, result.err(what)
}

// Kill ends a program at once and waits until it is gone; if it is the init of a
// box, every process of that box is gone then.
func (c *Client) Kill(ctx context.Context, name string) error {
	return c.Signal(ctx, Signal{Name: name, Signal: int(syscall.SIGKILL), Wait: true})
}

// Signal sends a signal to a program that Start started.
func (c *Client) Signal(ctx context.Context, s Signal) error {
	var none struct{}
	return c.call(ctx, "/signal", s, &none)
}

// Programs lists what was started in the box.
func (c *Client) Programs(ctx context.Context) ([]Status, error) {
	var all []Status
	return all, c.call(ctx, "/programs", struct{}{}, &all)
}

func (c *Client) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(content)))
	}
	return json.Unmarshal(content, out)
}
