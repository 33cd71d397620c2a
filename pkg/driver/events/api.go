package events

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// errRefused is the cause of an error that no repetition helps.
var errRefused = errors.New("refused")

const (
	// maxMessage and maxName are what the apiserver accepts in an Event.
	maxMessage, maxName = 1024, 253
)

// API writes Events to the apiserver of the cluster that the process runs in, and reads which instances its nodes are.
type API struct {
	kube      *kubeapi.Client
	component string
	claims    claims
}

// New returns what writes Events with the component as their source.
func New(kube *kubeapi.Client, component string) *API {
	return &API{kube: kube, component: component, claims: claims{kube: kube, driver: component}}
}

// Write creates the Event. One that exists already is fine: it has the same content, because its name is made of it.
func (a *API) Write(ctx context.Context, w Warning) error {
	if w.Claim.Volume != "" {
		claim, err := a.claims.of(ctx, w.Claim.Volume)
		if err != nil {
			return fmt.Errorf("finding out whose volume %s is: %w", w.Claim.Volume, err)
		}
		w.Claim = claim
	}
	path := "/api/v1/namespaces/" + url.PathEscape(w.Claim.Namespace) + "/events"
	err := a.kube.Do(ctx, http.MethodPost, path, kubeapi.JSON, a.event(w), nil)
	switch {
	case err == nil, kubeapi.IsConflict(err):
		return nil
	case kubeapi.IsRefused(err):
		return fmt.Errorf("%w: writing an Event: %w", errRefused, err)
	}
	return fmt.Errorf("writing an Event: %w", err)
}

// reference, source and event are the fields of core/v1's Event that are used.
type reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

type source struct {
	Component string `json:"component"`
}

type metadata struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type event struct {
	APIVersion          string    `json:"apiVersion"`
	Kind                string    `json:"kind"`
	Metadata            metadata  `json:"metadata"`
	InvolvedObject      reference `json:"involvedObject"`
	Type                string    `json:"type"`
	Reason              string    `json:"reason"`
	Message             string    `json:"message"`
	Count               int       `json:"count"`
	FirstTimestamp      time.Time `json:"firstTimestamp"`
	LastTimestamp       time.Time `json:"lastTimestamp"`
	Source              source    `json:"source"`
	ReportingController string    `json:"reportingComponent"`
}

func (a *API) event(w Warning) event {
	at := w.At.UTC().Truncate(time.Second)
	return event{
		APIVersion: "v1", Kind: "Event",
		Metadata:       metadata{Namespace: w.Claim.Namespace, Name: eventName(w)},
		InvolvedObject: about(w.Claim),
		Type:           "Warning", Reason: w.Reason, Message: shorten(w.Message, maxMessage), Count: 1,
		FirstTimestamp: at, LastTimestamp: at,
		Source: source{Component: a.component}, ReportingController: a.component,
	}
}

func about(c Claim) reference {
	switch c.Kind {
	case Driver.Kind:
		return reference{APIVersion: "storage.k8s.io/v1", Kind: c.Kind, Name: c.Name}
	case kindSnapshot:
		return reference{APIVersion: "snapshot.storage.k8s.io/v1", Kind: c.Kind, Namespace: c.Namespace, Name: c.Name, UID: c.UID}
	case kindStatefulSet:
		return reference{APIVersion: "apps/v1", Kind: c.Kind, Namespace: c.Namespace, Name: c.Name, UID: c.UID}
	case kindPod:
		return reference{APIVersion: "v1", Kind: c.Kind, Namespace: c.Namespace, Name: c.Name, UID: c.UID}
	case kindNode:
		return reference{APIVersion: "v1", Kind: c.Kind, Name: c.Name, UID: c.UID}
	}
	return reference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID}
}

// eventName is the same for the same warning, so that neither a second replica nor a restart adds another Event.
func eventName(w Warning) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{w.Claim.UID, w.Reason, w.Message}, "\x00")))
	suffix := "." + hex.EncodeToString(sum[:8])
	return strings.TrimRight(w.Claim.Name[:min(len(w.Claim.Name), maxName-len(suffix))], "-.") + suffix
}

// shorten cuts the text to at most n bytes of whole characters.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-len("...")], "") + "..."
}
