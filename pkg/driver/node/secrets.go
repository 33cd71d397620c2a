package node

import (
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// The keys of the Secret that a StorageClass names for the stage and for the expansion of encrypted volumes.
const (
	secretPassphrase = "encryption-passphrase"
	secretPrevious   = "encryption-passphrase-previous"
)

// addEncryption completes a volume with how it is encrypted and with the passphrases of a request.
func addEncryption(v *staging.Volume, kind volume.Kind, secrets map[string]string) (err error) {
	v.Encryption = v.Context[volume.ContextEncryption]
	switch {
	case v.Encryption != "" && v.Encryption != luks.Name:
		return volume.Errorf(volume.Invalid, "volume context: %s %q is not supported, valid is %s", volume.ContextEncryption, v.Encryption, luks.Name)
	case v.Encryption != "" && kind != volume.Block:
		return volume.Errorf(volume.Invalid, "volume context: %s %q is possible with storage of type %q only, the volume is of type %q",
			volume.ContextEncryption, v.Encryption, volume.Block, kind)
	}
	v.Keys, err = keysOf(secrets)
	return err
}

// keysOf reads the passphrases of a request, as they are: a line break at the end counts.
func keysOf(secrets map[string]string) (luks.Keys, error) {
	keys := luks.Keys{Current: luks.Passphrase(secrets[secretPassphrase]), Previous: luks.Passphrase(secrets[secretPrevious])}
	for name, p := range map[string]luks.Passphrase{secretPassphrase: keys.Current, secretPrevious: keys.Previous} {
		if len(p) > luks.MaxPassphrase {
			return luks.Keys{}, volume.Errorf(volume.Invalid, "secrets: %s has %d bytes, possible are %d", name, len(p), luks.MaxPassphrase)
		}
	}
	return keys, nil
}

// checkPassphrase judges whether a request to stage has what the volume needs. Whoever gives a passphrase means the volume to
// be encrypted.
func checkPassphrase(v staging.Volume, secrets map[string]string) error {
	_, given := secrets[secretPassphrase]
	switch {
	case v.Encryption == "" && given:
		return volume.Errorf(volume.Invalid, "secrets have %s, but the volume is not to be encrypted: its StorageClass needs the parameter \"%s: %s\"",
			secretPassphrase, volume.ContextEncryption, luks.Name)
	case v.Encryption == "" || v.Keys.Current != "":
		return nil
	}
	what := "have no"
	if given {
		what = "have an empty"
	}
	where := fmt.Sprintf("the StorageClass names the Secret with it by csi.storage.k8s.io/node-stage-secret-name and -namespace, a PersistentVolume by spec.csi.nodeStageSecretRef; its key is %s", secretPassphrase)
	return volume.Errorf(volume.Invalid, "volume %s is encrypted, and the secrets %s %s: %s", v.ID, what, secretPassphrase, where)
}
