package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// self is what the metadata service says of the machine.
type self struct {
	InstanceID string `json:"instance-v2-id"`
	Region     struct {
		Code string `json:"regioncode"` // in capitals
	} `json:"region"`
}

func readMetadata(ctx context.Context) (self, error) {
	var s self
	// The address is the platform's.
	err := (&cloud{base: "http://169.254.169.254"}).do(ctx, http.MethodGet, "/v1.json", nil, &s)
	if err == nil && (s.InstanceID == "" || s.Region.Code == "") {
		err = fmt.Errorf("the metadata service does not tell the instance and its region: %+v", s)
	}
	return s, err
}

// cloud is the API.
type cloud struct{ base, key string }

// block is a block storage.
type block struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	Serial     string `json:"mount_id"`
	SizeGB     int64  `json:"size_gb"`
	Status     string `json:"status"`
	AttachedTo string `json:"attached_to_instance"`
}

var errNotFound = errors.New("not found")

// do sends a request.
func (c *cloud) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		content, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "csi-vultr/v0.18.0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s %s: %w: %s", method, path, errNotFound, strings.TrimSpace(string(content)))
	case response.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(content)))
	case out == nil:
		return nil
	}
	return json.Unmarshal(content, out)
}

// blocks lists all block storages.
func (c *cloud) blocks(ctx context.Context) ([]block, error) {
	var answer struct {
		Blocks []block `json:"blocks"`
	}
	err := c.do(ctx, http.MethodGet, "/v2/blocks?per_page=500", nil, &answer)
	return answer.Blocks, err
}

// create makes a block storage.
func (c *cloud) create(ctx context.Context, region, label, blockType string, sizeGB int64) (block, error) {
	var answer struct {
		Block block `json:"block"`
	}
	order := map[string]any{"region": region, "label": label, "block_type": blockType, "size_gb": sizeGB}
	err := c.do(ctx, http.MethodPost, "/v2/blocks", order, &answer)
	return answer.Block, err
}

// get reads one.
func (c *cloud) get(ctx context.Context, id string) (block, error) {
	var answer struct {
		Block block `json:"block"`
	}
	err := c.do(ctx, http.MethodGet, "/v2/blocks/"+id, nil, &answer)
	return answer.Block, err
}

// await reads one every second until it is as wanted. One that was just made may not be there at once.
func (c *cloud) await(ctx context.Context, id string, is func(block) bool) (block, error) {
	for {
		select {
		case <-ctx.Done():
			return block{}, ctx.Err()
		case <-time.After(time.Second): // its pace
		}
		b, err := c.get(ctx, id)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil || is(b) {
			return b, err
		}
	}
}
