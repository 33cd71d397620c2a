// Package box makes small machines out of namespaces. A box has a PID, mount,
// network, UTS and IPC namespace and a root file system of its own; its init is
// an agent that starts programs in it and opens connections from it on request.
//
// Nothing of a box exists outside of it but its directory and its cgroups:
// mounts, links, addresses, routes, firewall rules and sysctls live in its
// namespaces, and these die with its processes. Killing its init kills every
// process in it, containers and boxes inside it included; that is the kernel's
// promise, and it is why nothing has to be remembered to be undone.
package box

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
)

// Command is the argument by which a program becomes the init of a box; it is
// followed by the path of the box's spec.
const Command = "box-init"

// Namespaces are the clone flags with which an init has to be started.
const Namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Spec describes a box.
type Spec struct {
	// Name is its host name.
	Name string
	// Dir holds all that the box writes; it is found at the same path inside.
	Dir string
	// Root is the directory with its root file system, never written to.
	Root string
	// Cgroup is where its processes live, in every hierarchy. It exists.
	Cgroup string
	// Binds are mounted into the box.
	Binds []Bind
	// Sysctls hide settings of the whole machine behind fixed values: programs
	// that insist on setting them (the kubelet does) find them set.
	Sysctls map[string]string
}

// Bind shows a directory or file of the outside in the box.
type Bind struct {
	Source, Target string
	// Shared lets mounts made in the box reach mount namespaces inside of it and back.
	Shared bool
	// Follows has what is mounted on the source or below it outside, now or later, appear in the box as well; what the box
	// mounts there shows to nobody outside. The source has to be a shared mount for that, or have one below it.
	Follows bool
}

// socket is where the agent of the box listens.
func (s Spec) socket() string { return Socket(s.Dir) }

// Socket is where the agent of the box with that directory listens.
func Socket(dir string) string { return filepath.Join(dir, "agent.sock") }

// Write saves the spec for the init and returns the arguments to start it with.
func (s Spec) Write(program string) ([]string, error) {
	content, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir, "box.json")
	return []string{program, Command, file}, os.WriteFile(file, content, 0o600)
}

func read(file string) (Spec, error) {
	var spec Spec
	content, err := os.ReadFile(file)
	if err != nil {
		return spec, err
	}
	return spec, json.Unmarshal(content, &spec)
}
