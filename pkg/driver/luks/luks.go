// Package luks encrypts disks with LUKS2, by cryptsetup(8). It keeps nothing: what is on a disk is read from its header,
// what is open is asked of the kernel by others.
//
// A passphrase reaches cryptsetup by a pipe, and is in no argument, environment, file or log.
//
// No udev is needed, and none is waited for: in a container, udev's answers never come. Nor is cryptsetup's lock, whose
// directory is read-only there: the caller does one thing at a time with a disk.
package luks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// Name is the type of encryption, as it is asked for.
const Name = "luks2"

var (
	// ErrPassphrase says that the passphrase opens no key slot.
	ErrPassphrase = errors.New("the passphrase does not open it")
	// ErrBusy says that the disk or the name is in use.
	ErrBusy = fmt.Errorf("it is in use: %w", unix.EBUSY)
)

// The passphrase's key is derived at a cost that is the same wherever it was made: 64 MiB and 4 passes, more than the
// second recommendation of RFC 9106. Nothing is measured, so that no fast node makes a key slot that is too dear for a
// small one. It takes 0.2 s of a processor.
var derivation = []string{
	"--pbkdf", "argon2id", "--pbkdf-memory", "65536", "--pbkdf-parallel", "4", "--pbkdf-force-iterations", "4",
}

const (
	// ownMemory is what the derivation of such a key takes.
	ownMemory = 64 << 20
	// allMemory bounds it: two such keys are derived at a time. What somebody else made may take more, and is derived alone.
	allMemory = 2 * ownMemory
)

// Cryptsetup runs cryptsetup(8). A disk is a path of which the caller has proven what it stands for, and which it keeps
// from being reused.
type Cryptsetup struct {
	// Ended is told how each run ended, by the command of cryptsetup(8), also one that was not begun; nil tells nobody.
	Ended func(command string, err error)

	turns  *semaphore.Weighted
	memory memory
}

// New returns a Cryptsetup.
func New() *Cryptsetup {
	return &Cryptsetup{turns: semaphore.NewWeighted(allMemory), memory: memory{"/proc", "/sys/fs/cgroup"}}
}

// Format overwrites a disk with a header for the volume that is Fresh, and one key slot.
func (c *Cryptsetup) Format(ctx context.Context, disk, volumeID string, p Passphrase) error {
	args := slices.Concat([]string{"luksFormat", "--type", Name, "--label", volumeID, "--subsystem", fresh, "--key-file", keyFile(0)}, derivation)
	return c.derive(ctx, ownMemory, disk, []Passphrase{p}, append(args, disk)...)
}

// Open opens a disk as the device that device-mapper gives the name. Without discards, what is freed inside stays
// encrypted noise, and nobody can tell from the disk what is in use.
func (c *Cryptsetup) Open(ctx context.Context, disk, name string, p Passphrase, discards bool) error {
	args := []string{"open", "--type", Name, "--key-file", keyFile(0)}
	if discards {
		args = append(args, "--allow-discards")
	}
	return c.derive(ctx, taken(disk), disk, []Passphrase{p}, append(args, disk, name)...)
}

// Test reports by nil that the passphrase opens the disk, by ErrPassphrase that it does not.
func (c *Cryptsetup) Test(ctx context.Context, disk string, p Passphrase) error {
	return c.derive(ctx, taken(disk), disk, []Passphrase{p}, "open", "--type", Name, "--test-passphrase", "--key-file", keyFile(0), disk)
}

// Add gives a key slot to a passphrase, by one that has one. The disk may be open.
func (c *Cryptsetup) Add(ctx context.Context, disk string, by, added Passphrase) error {
	args := slices.Concat([]string{"luksAddKey", "--key-file", keyFile(0)}, derivation)
	return c.derive(ctx, taken(disk), disk, []Passphrase{by, added}, append(args, disk, keyFile(1))...)
}

// Remove takes its key slot from a passphrase, be it the last one: the caller has proven that another passphrase opens
// the disk. The disk may be open.
func (c *Cryptsetup) Remove(ctx context.Context, disk string, p Passphrase) error {
	return c.derive(ctx, taken(disk), disk, []Passphrase{p}, "luksRemoveKey", "--key-file", keyFile(0), disk)
}

// Resize makes the device that is open on a disk as large as the disk.
func (c *Cryptsetup) Resize(ctx context.Context, disk, name string, p Passphrase) error {
	return c.derive(ctx, taken(disk), name, []Passphrase{p}, "resize", "--key-file", keyFile(0), name)
}

// Close closes an open device. It is not closed later when it is in use now.
func (c *Cryptsetup) Close(ctx context.Context, name string) error {
	return c.tell("close", run(ctx, name, nil, "close", name))
}

// MarkUsed notes in the header that the volume has been given something to keep. The disk may be open.
func (c *Cryptsetup) MarkUsed(ctx context.Context, disk, volumeID string) error {
	return c.tell("config", run(ctx, disk, nil, "config", "--label", volumeID, "--subsystem", used, disk))
}

// tell passes on the end of a run.
func (c *Cryptsetup) tell(command string, err error) error {
	if c.Ended != nil {
		c.Ended(command, err)
	}
	return err
}

// derive runs what derives keys from passphrases, and tells how it ended.
func (c *Cryptsetup) derive(ctx context.Context, need int64, what string, keys []Passphrase, args ...string) error {
	return c.tell(args[0], c.inTurn(ctx, need, what, keys, args...))
}

// inTurn runs it when it is its turn and there is the memory for it.
func (c *Cryptsetup) inTurn(ctx context.Context, need int64, what string, keys []Passphrase, args ...string) error {
	turn := min(need, allMemory)
	if c.memory.enough(need+allMemory-turn) != nil {
		turn = allMemory // there is none for others at the same time
	}
	if err := c.turns.Acquire(ctx, turn); err != nil {
		return fmt.Errorf("cryptsetup %s on %s was not begun: %w", args[0], what, context.Cause(ctx))
	}
	defer c.turns.Release(turn)
	if err := c.memory.enough(need); err != nil {
		return fmt.Errorf("cryptsetup %s on %s was not begun: %w", args[0], what, err)
	}
	return run(ctx, what, keys, args...)
}

// taken is how much memory it takes to derive a key by the header of a disk. Of a disk without one cryptsetup says what is
// wrong.
func taken(disk string) int64 {
	file, err := os.Open(disk) //nolint:gosec // the caller has proven it
	if err != nil {
		return ownMemory
	}
	defer file.Close() //nolint:errcheck // only read from
	header, err := ReadHeader(file)
	if err != nil {
		return ownMemory
	}
	return max(ownMemory, header.Memory)
}
