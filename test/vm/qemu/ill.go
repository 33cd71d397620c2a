package qemu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Ill says what is wrong with a disk.
type Ill struct {
	// Reads and Writes are what it is about. Writes are all that changes the disk, but for flushes: QEMU flushes a disk to heal it.
	Reads, Writes bool
	// Sectors are those of 512 bytes with which something is wrong; without any it is the whole disk.
	Sectors []int64
}

// ioTypes are those that QEMU tells apart.
func (i Ill) ioTypes() []string {
	var types []string
	if i.Reads {
		types = append(types, "read")
	}
	if i.Writes {
		types = append(types, "write", "write-zeroes", "discard")
	}
	return types
}

// rules have every access that is meant fail with EIO, from now on and each time.
func (i Ill) rules() []map[string]any {
	var rules []map[string]any
	for _, ioType := range i.ioTypes() {
		rule := func(more map[string]any) {
			all := map[string]any{"event": "none", "iotype": ioType, "errno": 5, "once": false, "immediately": false}
			maps.Copy(all, more)
			rules = append(rules, all)
		}
		if len(i.Sectors) == 0 {
			rule(nil)
		}
		for _, sector := range i.Sectors {
			rule(map[string]any{"sector": sector})
		}
	}
	return rules
}

// Fail has a disk that is plugged in answer with I/O errors until it is healed. What is under way ends before.
func (m *Machine) Fail(ctx context.Context, d *Disk, i Ill) error {
	if err := m.Heal(ctx, d); err != nil {
		return err
	}
	filter := d.name + "-fails"
	err := m.qmp.Do(ctx, "blockdev-add", map[string]any{
		"driver": "blkdebug", "node-name": filter, "image": d.below(), "inject-error": i.rules(),
	}, nil)
	if err == nil {
		d.ill = append(d.ill, func(ctx context.Context) error { return m.deleteNode(ctx, filter) })
		err = m.read(ctx, d, filter)
	}
	if err != nil {
		return fmt.Errorf("having disk %s fail: %w", d.Serial, err)
	}
	return nil
}

// Hang has a disk that is plugged in answer nothing until it is healed. What is under way ends before. It is the whole disk,
// and flushes, of which QEMU makes no accesses, are answered.
func (m *Machine) Hang(ctx context.Context, d *Disk, i Ill) error {
	if err := m.Heal(ctx, d); err != nil {
		return err
	}
	if err := m.hang(ctx, d, i); err != nil {
		return fmt.Errorf("having disk %s hang: %w", d.Serial, err)
	}
	return nil
}

// burnt is how much goes through before: it is paid for at a byte a second, which takes days.
const burnt = 1 << 20

// hang limits the accesses to a byte a second. The first one would still go through at once, as the limit is of those
// that come after it: it is one of a disk that nobody has, with the same limit.
func (m *Machine) hang(ctx context.Context, d *Disk, i Ill) error {
	group, filter, spare := d.name+"-limit", d.name+"-hangs", d.name+"-spare"
	limits, burns := map[string]any{}, []string(nil)
	if i.Reads {
		limits["bps-read"], burns = 1, append(burns, "read")
	}
	if i.Writes {
		limits["bps-write"], burns = 1, append(burns, "write")
	}
	if len(i.Sectors) > 0 || len(burns) == 0 {
		return errors.New("all reads or all writes of a disk hang, no single sectors")
	}
	err := m.qmp.Do(ctx, "object-add", map[string]any{"qom-type": "throttle-group", "id": group, "limits": limits}, nil)
	if err != nil {
		return err
	}
	d.ill = append(d.ill, func(ctx context.Context) error {
		return m.qmp.Do(ctx, "object-del", map[string]any{"id": group}, nil)
	})
	for node, file := range map[string]any{
		filter: d.below(),
		spare:  map[string]any{"driver": "null-co", "size": burnt},
	} {
		err := m.qmp.Do(ctx, "blockdev-add", map[string]any{"driver": "throttle", "node-name": node, "throttle-group": group, "file": file}, nil)
		if err != nil {
			return err
		}
		d.ill = append(d.ill, func(ctx context.Context) error { return m.deleteNode(ctx, node) })
	}
	for _, burn := range burns {
		if err := m.access(ctx, spare, burn); err != nil {
			return err
		}
	}
	return m.read(ctx, d, filter)
}

// access has QEMU itself read or write what is burnt, of a node that nothing keeps waiting.
func (m *Machine) access(ctx context.Context, node, what string) error {
	var said string
	line := fmt.Sprintf("qemu-io %s \"%s 0 %d\"", node, what, burnt)
	if err := m.qmp.Do(ctx, "human-monitor-command", map[string]any{"command-line": line}, &said); err != nil {
		return err
	}
	if said = strings.TrimSpace(said); said != "" { // its errors come as text
		return fmt.Errorf("QEMU %s: %s", line, said)
	}
	return nil
}

// Heal ends what Fail and Hang did: what hung is carried out, and so is all that comes. A disk that is well stays so.
func (m *Machine) Heal(ctx context.Context, d *Disk) error {
	if len(d.ill) == 0 {
		return nil
	}
	if err := m.read(ctx, d, d.below()); err != nil {
		return fmt.Errorf("healing disk %s: %w", d.Serial, err)
	}
	for len(d.ill) > 0 {
		last := len(d.ill) - 1
		if err := d.ill[last](ctx); err != nil {
			return fmt.Errorf("healing disk %s: %w", d.Serial, err)
		}
		d.ill = d.ill[:last]
	}
	return nil
}

// read has the disk's top node, which the guest has, read from and write to another node. QEMU lets nothing through
// meanwhile, and ends what is under way first, limits or not.
func (m *Machine) read(ctx context.Context, d *Disk, from string) error {
	return m.qmp.Do(ctx, "blockdev-reopen", map[string]any{
		"options": []any{map[string]any{"driver": "raw", "node-name": d.name, "file": from}},
	}, nil)
}

func (m *Machine) deleteNode(ctx context.Context, node string) error {
	return m.qmp.Do(ctx, "blockdev-del", map[string]any{"node-name": node}, nil)
}
