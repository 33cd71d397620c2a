// Package params judges the parameters of a StorageClass and the size of a volume. It is one table of rules:
// what it does not list is refused by name.
package params

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// The keys that the provisioner adds by itself when told to; they carry no wish.
const (
	claimName      = "csi.storage.k8s.io/pvc/name"
	claimNamespace = "csi.storage.k8s.io/pvc/namespace"
	volumeName     = "csi.storage.k8s.io/pv/name"
)

var metadata = []string{claimName, claimNamespace, volumeName}

// Params is what the parameters of a StorageClass ask for.
type Params struct {
	Kind volume.Kind
	Type volume.DiskType
	// FSType is "" when the class leaves it open.
	FSType string
	// Encryption is "" for none.
	Encryption string
	// Warnings are what the class's owner should change.
	Warnings []Warning
}

// Warning is about a parameter that is understood and should be written in another way.
type Warning struct{ Key, Text string }

// wish is what a class asks for by one spelling of a parameter.
type wish struct{ key, text, meaning string }

// Parse judges parameters, for volumes with the file system that their capability names, "" if it names none: of a class's
// FSType the provisioner makes that, and leaves out the parameter. The error names every fault, each with the key and what
// would be valid.
func Parse(parameters map[string]string, fsType string) (Params, error) {
	p, faults := Judge(parameters, fsType)
	if len(faults) > 0 {
		return Params{}, volume.Errorf(volume.Invalid, "%s", strings.Join(faults, "; "))
	}
	return p, nil
}

// Judge is Parse with the faults one by one, each of them a sentence, for those who show them. With faults the Params hold
// what is understood nonetheless.
func Judge(parameters map[string]string, fsType string) (p Params, faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	wishes := map[string]wish{} // by current key
	var warnings []Warning

	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if slices.Contains(metadata, key) {
			continue
		}
		p, ok := find(key)
		if !ok {
			fault("unknown parameter %q: %s", key, hint(key))
			continue
		}
		if p.Replaced != "" {
			warnings = append(warnings, deprecated(key, p, parameters[key]))
		}
		w, why := judge(p, key, parameters[key])
		if why != "" {
			fault("%s", why)
			continue
		}
		merge(wishes, w, p, fault)
	}
	faults = append(faults, nodeFaults(wishes, or(fsType, or(wishes[FSType].meaning, FileSystems[0])))...)
	return Params{
		Kind:       volume.Kind(or(wishes[StorageType].meaning, string(volume.Block))),
		Type:       volume.DiskType(or(wishes[DiskType].meaning, string(volume.NVMe))),
		FSType:     wishes[FSType].meaning,
		Encryption: wishes[Encryption].meaning,
		Warnings:   warnings,
	}, faults
}

// CheckContext judges what a volume context says to the node, as the node does when it stages a volume of the kind for the
// access. The error is Invalid.
func CheckContext(kind volume.Kind, access volume.Access, volumeContext map[string]string) error {
	p, _ := find(Encryption)
	encryption, fault := judge(p, Encryption, volumeContext[Encryption])
	switch {
	case fault != "":
		return volume.Errorf(volume.Invalid, "volume context: %s", fault)
	case kind != volume.Block && encryption.meaning != "":
		return volume.Errorf(volume.Invalid, "volume context: %s %q is possible with storage of type %q only, the volume is of type %q",
			Encryption, encryption.text, volume.Block, kind)
	case kind != volume.Block:
		return nil // its node is told nothing more
	}
	fsType := "" // of a raw device
	if !access.Block {
		fsType = or(access.FSType, FileSystems[0])
		if _, err := FormatOf(fsType, volumeContext); err != nil {
			return err
		}
	}
	_, _, err := ReadAheadOf(fsType, volumeContext)
	return err
}

// nodeFaults says what is wrong with what is for the node: what is not possible together, or not with the kind of storage or
// the file system.
func nodeFaults(wishes map[string]wish, fsType string) (faults []string) {
	if kind := wishes[StorageType].meaning; kind != "" && kind != string(volume.Block) {
		for _, p := range Table {
			if p.ForNode && wishes[p.Key].meaning != "" {
				faults = append(faults, fmt.Sprintf("parameter %q is for storage type %q", p.Key, volume.Block))
			}
		}
		return faults
	}
	set := map[string]string{}
	for _, p := range formatTable {
		if meaning := wishes[p.Key].meaning; meaning != "" {
			set[p.Key] = meaning
		}
	}
	_, faults = format(fsType, set)
	if fault := readAhead.misplaced(fsType); wishes[ReadAhead].meaning != "" && fault != "" {
		faults = append(faults, fault)
	}
	return faults
}

// judge returns what the value asks for, or what is wrong with it. An empty one asks for nothing, as for the official
// driver and the provisioner.
func judge(p Parameter, key, text string) (w wish, why string) {
	if text == "" {
		return wish{key: key}, ""
	}
	v, ok := p.value(text)
	switch {
	case !ok:
		return wish{}, fmt.Sprintf("parameter %q: %q is not supported, valid are %s", key, text, p.valid())
	case v.NotYet != "":
		return wish{}, fmt.Sprintf("parameter %q: %q (%s) is not supported yet by this version, valid are %s", key, text, v.NotYet, p.valid())
	}
	return wish{key: key, text: text, meaning: v.meaning()}, ""
}

// merge adds a wish, which must not contradict one by another spelling.
func merge(wishes map[string]wish, w wish, p Parameter, fault func(string, ...any)) {
	if w.meaning == "" {
		return
	}
	current := or(p.Replaced, p.Key)
	if other, ok := wishes[current]; ok && other.meaning != w.meaning {
		fault("parameters %q: %q and %q: %q contradict each other; %q is enough", other.key, other.text, w.key, w.text, current)
		return
	}
	wishes[current] = w
}

// deprecated is the warning about a former spelling.
func deprecated(key string, p Parameter, text string) Warning {
	better := fmt.Sprintf("%q", p.Replaced)
	if v, ok := p.value(text); ok {
		better = fmt.Sprintf("%q: %q", p.Replaced, v.meaning())
	}
	return Warning{Key: key, Text: fmt.Sprintf("StorageClass parameter %q is deprecated and still understood; a new class should have %s instead", key, better)}
}

// Claim returns the claim that a volume is created for, as far as the provisioner says (--extra-create-metadata). Its
// UID is part of the volume's name.
func Claim(name string, parameters map[string]string) events.Claim {
	uid, ok := strings.CutPrefix(name, "pvc-")
	if !ok || !volume.ValidID(uid) {
		uid = ""
	}
	return events.Claim{Namespace: parameters[claimNamespace], Name: parameters[claimName], UID: uid}
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
