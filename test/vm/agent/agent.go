// Package agent is how tests talk to the agent in the guest: by net/rpc over one byte stream, a virtio serial port.
package agent

import (
	"context"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"syscall"
	"time"
)

// Port is the name of the serial port that leads to the agent.
const Port = "agent"

// Service is the name under which the agent serves its methods.
const Service = "Agent"

// Command is a program to run in the guest.
type Command struct {
	Args    []string
	Timeout time.Duration
}

// Result is how a program ended.
type Result struct {
	Output string
	Code   int
}

// File is a file in the guest with all that it has.
type File struct {
	Path string
	Data []byte
}

// Wanted are disks to wait for.
type Wanted struct {
	Serial  string
	Count   int
	Timeout time.Duration
}

// Chunk is something to write to a file that the agent holds open.
type Chunk struct {
	Handle int
	Data   []byte
	Sync   bool
}

// Errno is the kernel's answer to what the agent did for a test; 0 is success.
type Errno struct{ Number syscall.Errno }

// Call is one RPC of CSI, for the plugin in the guest.
type Call struct {
	Method  string
	Request []byte
	Timeout time.Duration
}

// Reply is the plugin's answer.
type Reply struct {
	Response []byte
	Code     uint32
	Message  string
}

// ContainerName is the name of the node plugin's container.
const ContainerName = "csi-node"

// Container is a container for the node plugin.
type Container struct {
	// Image is the serial of the disk with the image's root file system, Config runc's configuration.
	Image  string
	Config []byte
	// Directories of the guest that a kubelet makes for it.
	Directories []string
}

// Steps are the system calls by which the plugin changed the machine.
type Steps struct {
	Calls  []string
	Killed bool
}

// None is the argument or the result of what has none; gob refuses structures without a field.
type None bool

// Client talks to the agent. It is safe for concurrent use.
type Client struct {
	rpc  *rpc.Client
	line *line
}

// NewClient talks by a connection, which the caller closes.
func NewClient(conn net.Conn) *Client {
	l := &line{Conn: conn}
	return &Client{rpc.NewClient(l), l}
}

// Again returns a client for the agent of a guest that was reset, which knows nothing of what was said before. What the one of
// before is waiting for fails.
func (c *Client) Again() (*Client, error) {
	if err := c.line.end(); err != nil {
		return nil, fmt.Errorf("ending the conversation with the guest before its reset: %w", err)
	}
	_ = c.rpc.Close() // it may have noticed
	return NewClient(c.line.Conn), nil
}

func (c *Client) call(ctx context.Context, method string, args, reply any) error {
	call := c.rpc.Go(Service+"."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("in the guest: %s: %w", method, call.Error)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("in the guest: %s: %w", method, ctx.Err())
	}
}

// Hello returns the kernel's release as soon as the guest is up.
func (c *Client) Hello(ctx context.Context) (string, error) {
	var release string
	err := c.call(ctx, "Hello", None(false), &release)
	return release, err
}

// StartPlugin starts the node plugin and returns when it is ready.
func (c *Client) StartPlugin(ctx context.Context) error {
	return c.call(ctx, "StartPlugin", None(false), new(None))
}

// StartContainer is StartPlugin with one in a container, for a guest with a Debian.
func (c *Client) StartContainer(ctx context.Context, container Container) error {
	return c.call(ctx, "StartContainer", container, new(None))
}

// StartTraced is StartPlugin with a plugin that can be killed at its system calls. It is slower.
func (c *Client) StartTraced(ctx context.Context) error {
	return c.call(ctx, "StartTraced", None(false), new(None))
}

// KillAt begins to count the system calls by which a traced plugin, with the tools that it runs, changes the machine, and
// kills all of them right before the nth; 0 is none.
func (c *Client) KillAt(ctx context.Context, n int) error {
	return c.call(ctx, "KillAt", n, new(None))
}

// Steps ends the counting, and returns what was counted and whether the plugin was killed.
func (c *Client) Steps(ctx context.Context) (Steps, error) {
	var steps Steps
	err := c.call(ctx, "Steps", None(false), &steps)
	return steps, err
}

// KillPlugin ends the node plugin at once.
func (c *Client) KillPlugin(ctx context.Context) error {
	return c.call(ctx, "KillPlugin", None(false), new(None))
}

// Forget takes away every mount and every record of the node plugin, which must not run: what is left is what another
// machine would have.
func (c *Client) Forget(ctx context.Context) error {
	return c.call(ctx, "Forget", None(false), new(None))
}

// Run runs a program.
func (c *Client) Run(ctx context.Context, args ...string) (Result, error) {
	var r Result
	err := c.call(ctx, "Run", Command{Args: args, Timeout: left(ctx)}, &r)
	return r, err
}

// Disks returns the device nodes of the disks with the serial, once the guest's kernel shows so many.
func (c *Client) Disks(ctx context.Context, serial string, count int) ([]string, error) {
	var nodes []string
	err := c.call(ctx, "Disks", Wanted{serial, count, left(ctx)}, &nodes)
	return nodes, err
}

// Read reads a file, of one with more than a MiB the last one, or the first MiB of a device.
func (c *Client) Read(ctx context.Context, path string) ([]byte, error) {
	var data []byte
	err := c.call(ctx, "Read", path, &data)
	return data, err
}

// Write writes a file and has it on the disk.
func (c *Client) Write(ctx context.Context, path string, data []byte) error {
	return c.call(ctx, "Write", File{path, data}, new(None))
}

// Open opens or makes a file and holds it open, as a pod does.
func (c *Client) Open(ctx context.Context, path string) (int, error) {
	var handle int
	err := c.call(ctx, "Open", path, &handle)
	return handle, err
}

// WriteOpen writes to a file that is held open, and returns what the kernel says of it.
func (c *Client) WriteOpen(ctx context.Context, handle int, data []byte, sync bool) (syscall.Errno, error) {
	var e Errno
	err := c.call(ctx, "WriteOpen", Chunk{handle, data, sync}, &e)
	return e.Number, err
}

// CloseOpen closes a file that is held open.
func (c *Client) CloseOpen(ctx context.Context, handle int) error {
	return c.call(ctx, "CloseOpen", handle, new(None))
}

// Serve serves the agent's methods on a connection until it ends.
func Serve(methods any, conn *os.File) error {
	s := rpc.NewServer()
	if err := s.RegisterName(Service, methods); err != nil {
		return err
	}
	s.ServeConn(conn)
	return nil
}

// left is how much time a context has, a minute if it has no end.
func left(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return time.Minute
}
