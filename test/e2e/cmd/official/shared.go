package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Shared file systems, as far as the official driver serves them: no size but the one asked for, no mount options, and an
// attachment for each instance.

// fileSystem is a shared file system.
type fileSystem struct {
	ID     string      `json:"id"`
	Label  string      `json:"label"`
	Status string      `json:"status"`
	Size   storageSize `json:"storage_size"`
}

type storageSize struct {
	GB int64 `json:"gb"`
}

// attachment is a file system on an instance.
type attachment struct {
	State string `json:"state"`
	Tag   int    `json:"mount_tag"`
}

func attachmentPath(id, instance string) string { return "/v2/vfs/" + id + "/attachments/" + instance }

// createShared makes a file system, or finds it by its label, and waits until it can be used.
func (c *cloud) createShared(ctx context.Context, region, label string, sizeGB int64) (fileSystem, error) {
	var answer struct {
		FileSystems []fileSystem `json:"vfs"`
	}
	if err := c.do(ctx, http.MethodGet, "/v2/vfs?per_page=500", nil, &answer); err != nil {
		return fileSystem{}, err
	}
	for _, f := range answer.FileSystems {
		if f.Label == label {
			return f, nil
		}
	}
	var made fileSystem
	order := map[string]any{"region": region, "label": label, "disk_type": "nvme", "storage_size": storageSize{sizeGB}}
	if err := c.do(ctx, http.MethodPost, "/v2/vfs", order, &made); err != nil {
		return fileSystem{}, err
	}
	err := each(ctx, func() (bool, error) {
		err := c.do(ctx, http.MethodGet, "/v2/vfs/"+made.ID, nil, &made)
		return err == nil && made.Status == "active", err
	})
	return made, err
}

// attachShared attaches a file system and returns its tag on the instance.
func (c *cloud) attachShared(ctx context.Context, id, instance string) (string, error) {
	var is attachment
	err := c.do(ctx, http.MethodGet, attachmentPath(id, instance), nil, &is)
	if errors.Is(err, errNotFound) {
		err = c.do(ctx, http.MethodPut, attachmentPath(id, instance), nil, &is)
	}
	if err != nil {
		return "", err
	}
	err = each(ctx, func() (bool, error) {
		err := c.do(ctx, http.MethodGet, attachmentPath(id, instance), nil, &is)
		return err == nil && is.State == "ATTACHED" && is.Tag != 0, err
	})
	return strconv.Itoa(is.Tag), err
}

// each asks every second until something is so. What was just made may not be there at once.
func each(ctx context.Context, is func() (bool, error)) error {
	for {
		done, err := is()
		if done || err != nil && !errors.Is(err, errNotFound) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second): // its pace
		}
	}
}
