package simulator

import (
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// startupScript is what new servers run at their first boot.
type startupScript struct {
	head
	Modified time.Time `json:"modified"`
	Name     string    `json:"name"`
	Type     string    `json:"type"`   // boot, pxe
	Script   string    `json:"script"` // base64
}

var scriptRoutes = []route{
	{method: "GET", path: "/v2/startup-scripts", operation: "list_startup_scripts", handle: (*Simulator).listScripts},
	{method: "POST", path: "/v2/startup-scripts", operation: "create_startup_script", handle: (*Simulator).createScript},
	{method: "GET", path: "/v2/startup-scripts/{id}", operation: "get_startup_script", handle: (*Simulator).getScript},
	{method: "PATCH", path: "/v2/startup-scripts/{id}", operation: "update_startup_script", handle: (*Simulator).updateScript},
	{method: "DELETE", path: "/v2/startup-scripts/{id}", operation: "delete_startup_script", handle: (*Simulator).deleteScript},
}

// errNoScript has the text that creates of instances were seen to be refused with; that of this 404 is unknown.
var errNoScript = wire.NotFound("Invalid startup script ID")

func showScript(r startupScript) any {
	return map[string]any{
		"id": r.ID, "date_created": wire.Time(r.Created), "date_modified": wire.Time(r.Modified), "name": r.Name, "type": r.Type,
		"script": r.Script,
	}
}

func (s *Simulator) listScripts(c *call) (int, any, error) {
	return list(s, c, "startup_scripts", s.scripts.All(), everything, showScript)
}

func (s *Simulator) getScript(c *call) (int, any, error) {
	r, ok := s.scripts.Get(c.id())
	if !ok {
		return 0, nil, errNoScript
	}
	return http.StatusOK, map[string]any{"startup_script": showScript(r)}, nil
}

type scriptRequest struct {
	Name   *string `json:"name"`
	Type   *string `json:"type"`
	Script *string `json:"script"`
}

func (r startupScript) with(req scriptRequest) (startupScript, *wire.Error) {
	set(&r.Name, req.Name)
	set(&r.Type, req.Type)
	set(&r.Script, req.Script)
	r.Modified = time.Now()
	if r.Name == "" {
		return r, ours("Invalid name.")
	}
	if !slices.Contains([]string{"boot", "pxe"}, r.Type) {
		return r, ours("Invalid type.")
	}
	if _, err := base64.StdEncoding.DecodeString(r.Script); err != nil || r.Script == "" {
		return r, ours("Invalid script: it must be encoded in base64.")
	}
	return r, nil
}

func (s *Simulator) createScript(c *call) (int, any, error) {
	var req scriptRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	r, bad := startupScript{head: s.newHead(), Type: "boot"}.with(req)
	if bad != nil {
		return 0, nil, bad
	}
	if err := s.update(func(tx *store.Tx) error { s.scripts.Put(tx, r.ID, r); return nil }); err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"startup_script": showScript(r)}, nil
}

func (s *Simulator) updateScript(c *call) (int, any, error) {
	var req scriptRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.update(func(tx *store.Tx) error {
		old, ok := s.scripts.GetIn(tx, c.id())
		if !ok {
			return errNoScript
		}
		r, bad := old.with(req)
		if bad != nil {
			return bad
		}
		s.scripts.Put(tx, r.ID, r)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteScript(c *call) (int, any, error) {
	return remove(s, s.scripts, c.id(), errNoScript)
}

// scriptText returns the script that a create names, decoded; "" is none.
func (s *Simulator) scriptText(tx *store.Tx, id string) (string, *wire.Error) {
	if id == "" {
		return "", nil
	}
	r, ok := s.scripts.GetIn(tx, id)
	if !ok {
		return "", wire.BadRequest("Invalid startup script ID")
	}
	raw, err := base64.StdEncoding.DecodeString(r.Script)
	if err != nil { // it was checked when it was stored
		return "", ours("Invalid script.")
	}
	return string(raw), nil
}
