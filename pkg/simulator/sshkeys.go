package simulator

import (
	"net/http"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// sshKey is a public key that new servers get. The same one may be there twice.
type sshKey struct {
	head
	Name string `json:"name"`
	Key  string `json:"key"`
}

// maxKeyName is where names of SSH keys are cut off, without a word.
const maxKeyName = 128

var sshKeyRoutes = []route{
	{method: "GET", path: "/v2/ssh-keys", operation: "list_ssh_keys", handle: (*Simulator).listSSHKeys},
	{method: "POST", path: "/v2/ssh-keys", operation: "create_ssh_key", handle: (*Simulator).createSSHKey},
	{method: "GET", path: "/v2/ssh-keys/{id}", operation: "get_ssh_key", handle: (*Simulator).getSSHKey},
	{method: "PATCH", path: "/v2/ssh-keys/{id}", operation: "update_ssh_key", handle: (*Simulator).updateSSHKey},
	{method: "DELETE", path: "/v2/ssh-keys/{id}", operation: "delete_ssh_key", handle: (*Simulator).deleteSSHKey},
}

var errNoSSHKey = wire.NotFound("Invalid SSH key ID.") // the platform's text is unknown

func showSSHKey(k sshKey) any {
	return map[string]any{"id": k.ID, "date_created": wire.Time(k.Created), "name": k.Name, "ssh_key": k.Key}
}

func (s *Simulator) listSSHKeys(c *call) (int, any, error) {
	return list(s, c, "ssh_keys", s.sshKeys.All(), everything, showSSHKey)
}

func (s *Simulator) getSSHKey(c *call) (int, any, error) {
	k, ok := s.sshKeys.Get(c.id())
	if !ok {
		return 0, nil, errNoSSHKey
	}
	return http.StatusOK, map[string]any{"ssh_key": showSSHKey(k)}, nil
}

type sshKeyRequest struct {
	Name *string `json:"name"`
	Key  *string `json:"ssh_key"`
}

func (s *Simulator) applySSHKey(k sshKey, req sshKeyRequest) (sshKey, *wire.Error) {
	set(&k.Name, req.Name)
	set(&k.Key, req.Key)
	k.Name = s.truncated(k.Name, maxKeyName)
	if k.Name == "" {
		return k, ours("Invalid name.")
	}
	if len(strings.Fields(k.Key)) < 2 {
		return k, ours("Invalid ssh_key.")
	}
	return k, nil
}

func (s *Simulator) createSSHKey(c *call) (int, any, error) {
	var req sshKeyRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	k, bad := s.applySSHKey(sshKey{head: s.newHead()}, req)
	if bad != nil {
		return 0, nil, bad
	}
	if err := s.update(func(tx *store.Tx) error { s.sshKeys.Put(tx, k.ID, k); return nil }); err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"ssh_key": showSSHKey(k)}, nil
}

func (s *Simulator) updateSSHKey(c *call) (int, any, error) {
	var req sshKeyRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.update(func(tx *store.Tx) error {
		old, ok := s.sshKeys.GetIn(tx, c.id())
		if !ok {
			return errNoSSHKey
		}
		k, bad := s.applySSHKey(old, req)
		if bad != nil {
			return bad
		}
		s.sshKeys.Put(tx, k.ID, k)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteSSHKey(c *call) (int, any, error) {
	return remove(s, s.sshKeys, c.id(), errNoSSHKey)
}

// sshKeyTexts returns the keys that a create names.
func (s *Simulator) sshKeyTexts(tx *store.Tx, ids []string) ([]string, *wire.Error) {
	var out []string
	for _, id := range ids {
		k, ok := s.sshKeys.GetIn(tx, id)
		if !ok {
			return nil, wire.BadRequest("Invalid ssh key")
		}
		out = append(out, k.Key)
	}
	return out, nil
}
