// Package providerid reads and writes the provider IDs of Nodes: "vultr://<UUID>".
//
// The form is the one that official installations wrote into their Nodes. It never changes: spec.providerID is
// immutable, and a Node whose ID could no longer be read would lose its load balancers and its volumes.
package providerid

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Prefix begins every provider ID of this cloud.
const Prefix = "vultr://"

// ErrUnset is returned for a Node that has no provider ID yet.
var ErrUnset = errors.New("the node has no provider ID")

// ForeignError is returned for a provider ID that is not one of ours. Nothing may ever be concluded about the
// machine behind it, least of all that it is gone.
type ForeignError struct {
	// ProviderID is the text as found.
	ProviderID string
}

// Error says what was found and what was expected.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("provider ID %q is not of the form %s<UUID>", e.ProviderID, Prefix)
}

// Parse returns the instance's UUID in lower case.
func Parse(providerID string) (string, error) {
	if providerID == "" {
		return "", ErrUnset
	}
	id, ours := strings.CutPrefix(providerID, Prefix)
	if !ours || !vultr.IsID(id) {
		return "", &ForeignError{ProviderID: providerID}
	}
	return strings.ToLower(id), nil
}

// Format returns the provider ID of an instance.
func Format(id string) string { return Prefix + id }
