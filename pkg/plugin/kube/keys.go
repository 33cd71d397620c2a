package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The Secrets of the two controllers in the manifests, and the key in them.
const (
	CCMSecret = "vultr-ccm" //nolint:gosec // a name
	CSISecret = "vultr-csi" //nolint:gosec // a name
	secretKey = "api-key"
)

// What both controllers look at for their API key.
const (
	keyFile     = "/etc/vultr/api-key"
	keyVariable = "VULTR_API_KEY"
)

// KeyRef is where a controller has its API key from.
type KeyRef struct {
	// Secret is the name of one in the controllers' namespace, and Key the name of the API key in it.
	Secret, Key string
}

// String names the Secret.
func (r KeyRef) String() string { return "Secret " + System + "/" + r.Secret }

// KeyRefOf returns where a controller has its API key from, which is named here by its Secret of the manifests: that is the answer
// unless its Deployment says otherwise, by what it mounts or has in its environment.
func KeyRefOf(all []Workload, secret string) KeyRef {
	name, container, flag := CCM, CCM, "vultr-api-key-file"
	if secret == CSISecret {
		name, container, flag = CSIController, "csi-controller", "api-key-file"
	}
	usual := KeyRef{secret, secretKey}
	w := Find(all, "Deployment", name)
	if w == nil || w.Container(container) == nil {
		return usual
	}
	c := w.Container(container)
	file := lastOf(flags(c, flag))
	if file == "" {
		file = keyFile
	}
	if volume, at := w.mountedAt(c, file); volume != nil && volume.Secret != nil {
		return KeyRef{volume.Secret.SecretName, keyAt(volume.Secret.Items, at)}
	}
	for _, env := range c.Env {
		if env.Name == keyVariable && env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
			return KeyRef{env.ValueFrom.SecretKeyRef.Name, env.ValueFrom.SecretKeyRef.Key}
		}
	}
	return usual
}

// keyAt returns the key of a Secret or a ConfigMap whose content is at a path of the volume.
func keyAt(items []v1.KeyToPath, path string) string {
	for _, item := range items {
		if item.Path == path {
			return item.Key
		}
	}
	return path
}

// ErrNoKey is returned when a Secret has no API key in it.
var ErrNoKey = errors.New("it has no API key")

// Key returns the API key of one of the controllers.
func (c *Cluster) Key(ctx context.Context, of KeyRef) (string, error) {
	found, err := c.Client.CoreV1().Secrets(System).Get(ctx, of.Secret, metav1.GetOptions{})
	if err != nil {
		return "", failed(of.String(), err)
	}
	key := strings.TrimSpace(string(found.Data[of.Key]))
	if key == "" {
		return "", failed(of.String(), fmt.Errorf("%w: nothing is in %s", ErrNoKey, of.Key))
	}
	return key, nil
}
