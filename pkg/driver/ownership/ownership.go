// Package ownership says whose an object of the account is, by its label. Several clusters can share an account, the platform's
// labels are not unique, and it has no other mark for block storage.
package ownership

import (
	"fmt"
	"regexp"
	"strings"
)

// Cluster is the ID of a cluster, which the labels of its objects begin with: "<cluster>/<name>". "" is a cluster without an
// ID: its labels are the names, as those of the official driver and of clusters before they got an ID.
//
// An ID has no slash, so that the labels of two clusters with IDs are never the same. That of a cluster without one is the
// same only for a name that has the other's ID and a slash in it, which Kubernetes never makes.
type Cluster string

const separator = "/"

// form is that of a DNS label, so that a namespace's name or UID can be an ID. With the longest name that CSI grants, 128
// bytes, a label has 192; the platform is known to take 255 for descriptions.
var form = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Validate judges the form of an ID.
func (c Cluster) Validate() error {
	if c != "" && !form.MatchString(string(c)) {
		return fmt.Errorf("%q is not a cluster ID: it has at most 63 lower case letters, digits and hyphens, and begins and ends with a letter or a digit", string(c))
	}
	return nil
}

// Label is what a new object of the name is called.
func (c Cluster) Label(name string) string {
	if c == "" {
		return name
	}
	return string(c) + separator + name
}

// Has reports whether the label can be that of the cluster's object of the name: with its ID, or without any, as it was made
// before the cluster had one. One with another cluster's ID is never. A note does not matter.
func (c Cluster) Has(label, name string) bool {
	for _, l := range []string{label, Bare(label)} {
		if l == c.Label(name) || l == name {
			return true
		}
	}
	return false
}

// Name is what the cluster calls the object of a label.
func (c Cluster) Name(label string) string {
	label = Bare(label)
	if c.Owns(label) {
		return label[len(c)+len(separator):]
	}
	return label
}

// Owns reports whether the label proves that the object is the cluster's. Without an ID nothing does.
func (c Cluster) Owns(label string) bool {
	return c != "" && strings.HasPrefix(label, string(c)+separator)
}

// Others reports whether the label proves that the object is of another cluster, which has an ID. Without one nothing does.
func (c Cluster) Others(label string) bool {
	bare := Bare(label)
	return IsClaims(bare) && strings.Contains(bare, separator) && !c.Owns(bare)
}

// A note is what people add to the label of a volume, in brackets: "<cluster>/pvc-<UID> (<note>)". Only labels that are
// certainly a claim's have one, so that no name can be taken for another one with a note.

// claims is the form of the labels of claims' volumes without their notes.
var claims = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?pvc-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// IsClaims reports whether a label without a note is that of a volume which was made for a claim.
func IsClaims(bare string) bool { return claims.MatchString(bare) }

// snapshots is the form of the names of VolumeSnapshots' snapshots (csi-snapshotter's --snapshot-name-prefix).
var snapshots = regexp.MustCompile(`^snapshot-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// IsSnapshots reports whether a description is that of a snapshot which was made for a VolumeSnapshot by a cluster without ID.
func IsSnapshots(description string) bool { return snapshots.MatchString(description) }

// WithNote adds a note to a label that has none.
func WithNote(bare, note string) string { return bare + " (" + note + ")" }

// Bare is the label without its note.
func Bare(label string) string {
	bare, rest, found := strings.Cut(label, " (")
	if !found || !strings.HasSuffix(rest, ")") || !IsClaims(bare) {
		return label
	}
	return bare
}
