package events

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrNotInCluster is returned where the process has no account of a cluster.
var ErrNotInCluster = errors.New("not in a cluster, or without an account there")

// errRefused is the cause of an error that no repetition helps.
var errRefused = errors.New("refused")

const (
	// accountDir is where a pod finds its account.
	accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	// writeFor is how long the apiserver may take.
	writeFor = 10 * time.Second
	// maxMessage and maxName are what the apiserver accepts in an Event.
	maxMessage, maxName = 1024, 253
)

// API writes Events to the apiserver of the cluster that the process runs in, and reads which instances its nodes are.
//
// It is not client-go on purpose: one POST of one small object and one GET of a list are all that is needed, and the program is one binary for
// controller and node. Linking a clientset takes a node plugin that never uses it from 15 to 26 MB, rest and core/v1
// alone to 18 MB; this costs nothing that can be measured.
type API struct {
	host      string
	dir       string
	component string
}

// InCluster returns the apiserver as the environment and the mounted account name it, or ErrNotInCluster. The
// component is what the Events name as their source.
func InCluster(getenv func(string) string, component string) (*API, error) {
	return inCluster(getenv, component, accountDir)
}

func inCluster(getenv func(string) string, component, dir string) (*API, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, ErrNotInCluster
	}
	if _, err := os.Stat(filepath.Join(dir, "token")); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotInCluster, err)
	}
	return &API{host: net.JoinHostPort(host, port), dir: dir, component: component}, nil
}

// Write creates the Event. One that exists already is fine: it has the same content, because its name is made of it.
func (a *API) Write(ctx context.Context, w Warning) error {
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	body, err := json.Marshal(a.event(w))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	target := "https://" + a.host + "/api/v1/namespaces/" + url.PathEscape(w.Claim.Namespace) + "/events"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	client, token, err := a.account()
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("writing an Event: %w", err)
	}
	return errors.Join(judge(resp), resp.Body.Close())
}

// account reads the account again: token and certificate are replaced while the process runs. Events are rare, so
// nothing is kept between them, no connection either.
func (a *API) account() (*http.Client, string, error) {
	token, err := os.ReadFile(filepath.Join(a.dir, "token"))
	if err != nil {
		return nil, "", fmt.Errorf("reading the account's token: %w", err)
	}
	pem, err := os.ReadFile(filepath.Join(a.dir, "ca.crt"))
	if err != nil {
		return nil, "", fmt.Errorf("reading the apiserver's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, "", fmt.Errorf("%s holds no certificate", filepath.Join(a.dir, "ca.crt"))
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}
	return &http.Client{Transport: transport, CheckRedirect: noRedirect}, strings.TrimSpace(string(token)), nil
}

// noRedirect keeps the token from being sent elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// judge turns the apiserver's answer into an error.
func judge(resp *http.Response) error {
	if resp.StatusCode < http.StatusMultipleChoices || resp.StatusCode == http.StatusConflict {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		text = []byte(err.Error())
	}
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &answer) == nil && answer.Message != "" {
		text = []byte(answer.Message)
	}
	err = fmt.Errorf("writing an Event: the apiserver answered %s: %s", resp.Status, bytes.TrimSpace(text))
	if resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
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
	if c.Kind == Driver.Kind {
		return reference{APIVersion: "storage.k8s.io/v1", Kind: c.Kind, Name: c.Name}
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
