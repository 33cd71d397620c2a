package vultr

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// liveFileSystem has the form of the API: not wrapped, with a status in words.
const liveFileSystem = `{"id":"` + idA + `","region":"EWR","date_created":"2026-01-02T03:04:05+00:00","status":"active",
	"label":"pvc-1","tags":["k8s"],"disk_type":"nvme","storage_size":{"bytes":10737418240,"gb":10},
	"storage_used":{"bytes":4096,"gb":0},"billing":{"charges":0,"monthly":1}}`

var wantFileSystem = FileSystem{
	ID: idA, Label: "pvc-1", Region: "ewr", Status: "active", SizeGB: 10, UsedBytes: 4096, DiskType: "nvme",
	Tags: []string{"k8s"}, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), MonthlyCost: 1,
}

const liveAttachment = `{"vfs_id":"` + idA + `","target_id":"` + idB + `","state":"ATTACHED","mount_tag":79287343}`

var wantAttachment = FileSystemAttachment{FileSystemID: idA, InstanceID: idB, State: "ATTACHED", MountTag: "79287343"}

// fileSystemCloud answers every route of file systems.
func fileSystemCloud(r *http.Request) (*http.Response, error) {
	switch one := fileSystemsPath + "/" + idA; {
	case r.Method == http.MethodDelete:
		return reply(204, nil), nil
	case r.URL.Path == fileSystemsPath && r.Method == http.MethodGet:
		return reply(200, `{"vfs":[`+liveFileSystem+`]}`), nil // without meta
	case r.URL.Path == fileSystemsPath, r.URL.Path == one:
		return reply(200, liveFileSystem), nil
	case r.URL.Path == one+"/attachments":
		return reply(200, `{"attachments":[`+liveAttachment+`]}`), nil
	case r.URL.Path == one+"/attachments/"+idB:
		return reply(200, liveAttachment), nil
	}
	return refusal(404, "Subscription ID Not Found"), nil
}

func TestFileSystemsAreDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := (&cloud{answer: fileSystemCloud}).client(t), t.Context()
		one, errOne := c.FileSystem(ctx, idA)
		made, errMade := c.CreateFileSystem(ctx, FileSystemRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10})
		list, errList := c.FileSystems(ctx, 0)
		for name, got := range map[string]FileSystem{"read": one, "created": made, "listed": append(list.Items, FileSystem{})[0]} {
			if !reflect.DeepEqual(got, wantFileSystem) || !got.Active() {
				t.Errorf("%s: got %+v", name, got)
			}
		}
		attached, errAttached := c.AttachFileSystem(ctx, idA, idB)
		read, errRead := c.FileSystemAttachment(ctx, idA, idB)
		all, errAll := c.FileSystemAttachments(ctx, idA, 0)
		for name, got := range map[string]FileSystemAttachment{"made": attached, "read": read, "listed": append(all.Items, FileSystemAttachment{})[0]} {
			if got != wantAttachment || !got.Attached() {
				t.Errorf("attachment %s: got %+v", name, got)
			}
		}
		for _, err := range []error{errOne, errMade, errList, errAttached, errRead, errAll} {
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := c.FileSystem(ctx, idB); !IsNotFound(err) {
			t.Errorf("a missing one: %v", err)
		}
		for _, a := range []FileSystemAttachment{{State: "ATTACHED"}, {State: "ATTACHING", MountTag: "1"}, {}} {
			if a.Attached() {
				t.Errorf("%+v can be mounted", a)
			}
		}
	})
}

func TestFileSystemRequestsAsTheyAreSent(t *testing.T) {
	net := &cloud{answer: fileSystemCloud}
	c := net.client(t)
	one := fileSystemsPath + "/" + idA
	tests := []struct {
		do                 func(ctx context.Context) error
		method, path, body string
	}{
		{func(ctx context.Context) error {
			_, err := c.CreateFileSystem(ctx, FileSystemRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Tags: []string{"a"}})
			return err
		}, "POST", fileSystemsPath, `{"region":"ewr","label":"pvc-1","storage_size":{"gb":10},"disk_type":"nvme","tags":["a"]}`},
		{func(ctx context.Context) error { return c.ResizeFileSystem(ctx, idA, 20) }, "PUT", one, `{"storage_size":{"gb":20}}`},
		{func(ctx context.Context) error { return c.RelabelFileSystem(ctx, idA, "x") }, "PUT", one, `{"label":"x"}`},
		{func(ctx context.Context) error { return c.ChangeFileSystem(ctx, idA, 20, "x") }, "PUT", one, `{"storage_size":{"gb":20},"label":"x"}`},
		{func(ctx context.Context) error { return c.ChangeFileSystem(ctx, idA, 10, "x") }, "PUT", one, `{"label":"x"}`},
		{func(ctx context.Context) error { _, err := c.AttachFileSystem(ctx, idA, idB); return err }, "PUT", one + "/attachments/" + idB, ``},
		{func(ctx context.Context) error { return c.DetachFileSystem(ctx, idA, idB) }, "DELETE", one + "/attachments/" + idB, ``},
		{func(ctx context.Context) error { return c.DeleteFileSystem(ctx, idA) }, "DELETE", one, ``},
	}
	for _, test := range tests {
		if err := test.do(t.Context()); err != nil {
			t.Errorf("%s %s: %v", test.method, test.path, err)
		}
		sent := net.requests()
		got := sent[len(sent)-1]
		if got.method != test.method || got.path != test.path || !sameJSON(t, got.body, test.body) {
			t.Errorf("got %s %s %s, want %s %s %s", got.method, got.path, got.body, test.method, test.path, test.body)
		}
	}
}

// The platform would make a file system smaller, with what is in it.
func TestAFileSystemNeverShrinks(t *testing.T) {
	net := &cloud{answer: fileSystemCloud}
	c := net.client(t)
	for _, size := range []int{0, 9, 10} {
		if err := c.ResizeFileSystem(t.Context(), idA, size); err != nil {
			t.Errorf("%d GB: %v", size, err)
		}
	}
	if n := net.count(http.MethodPut, fileSystemsPath+"/"+idA); n != 0 {
		t.Errorf("%d changes were sent", n)
	}
}

func TestWaitForAFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := time.Now().Add(5 * time.Second)
		net := &cloud{answer: func(_ *http.Request) (*http.Response, error) {
			body := liveFileSystem
			if time.Now().Before(ready) {
				body = strings.Replace(body, `"active"`, `"pending"`, 1)
			}
			return reply(200, `{"vfs":[`+body+`]}`), nil
		}}
		got, err := net.client(t).WaitFileSystem(t.Context(), idA, func(f FileSystem) (bool, error) { return f.Active(), nil })
		if err != nil || !reflect.DeepEqual(got, wantFileSystem) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestWaitForAnAttachment(t *testing.T) {
	attached := func(a FileSystemAttachment) (bool, error) { return a.Attached(), nil }
	gone := func(a FileSystemAttachment) (bool, error) { return a == FileSystemAttachment{}, nil }
	synctest.Test(t, func(t *testing.T) {
		from, until := time.Now().Add(7*time.Second), time.Now().Add(time.Minute)
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			switch now := time.Now(); {
			case !strings.HasPrefix(r.URL.Path, fileSystemsPath+"/"+idA):
				return refusal(404, "Subscription ID Not Found"), nil
			case strings.HasSuffix(r.URL.Path, idB):
				return refusal(404, "Attachment Not Found"), nil
			case now.Before(from), now.After(until):
				return reply(200, `{"attachments":[]}`), nil
			}
			return reply(200, `{"attachments":[`+liveAttachment+`]}`), nil
		}}
		c, ctx := net.client(t), t.Context()
		if got, err := c.WaitFileSystemAttachment(ctx, idA, idB, attached); err != nil || got != wantAttachment {
			t.Errorf("attach: %+v, %v", got, err)
		}
		if _, err := c.WaitFileSystemAttachment(ctx, idA, idB, gone); err != nil || time.Now().Before(until) {
			t.Errorf("detach: %v", err)
		}
		if _, err := c.WaitFileSystemAttachment(ctx, idB, idB, attached); !IsNotFound(err) || IsNotAttached(err) {
			t.Errorf("a file system that does not exist: %v", err)
		}
		if _, err := c.WaitFileSystemAttachment(ctx, idA, "x", attached); !IsInvalid(err) {
			t.Errorf("an instance that cannot be: %v", err)
		}
		if _, err := c.FileSystemAttachment(ctx, idA, idB); !IsNotAttached(err) || !IsNotFound(err) {
			t.Errorf("an attachment that does not exist: %v", err)
		}
	})
}

// A list that counts attachments and shows none does not say that the instance has let the file system go.
func TestABlankListOfAttachmentsEndsNoDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		const blank = 30 * time.Second
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			if time.Since(began) < blank {
				return reply(200, `{"attachments":[],"meta":{"total":1}}`), nil
			}
			return reply(200, `{"attachments":[],"meta":{"total":0}}`), nil
		}}
		gone := func(a FileSystemAttachment) (bool, error) { return a == FileSystemAttachment{}, nil }
		_, err := net.client(t).WaitFileSystemAttachment(t.Context(), idA, idB, gone)
		if took := time.Since(began); err != nil || took < blank {
			t.Errorf("detached after %s, %v", took, err)
		}
	})
}

// All who wait for attachments of one file system share its lists: nothing else tells of them.
func TestWaitsForAttachmentsShareLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: fileSystemCloud}
		c := net.client(t)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := c.WaitFileSystemAttachment(t.Context(), idA, idB, func(a FileSystemAttachment) (bool, error) { return a.Attached(), nil })
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := net.count(http.MethodGet, fileSystemsPath+"/"+idA+"/attachments"); n > 3 {
			t.Errorf("20 waits cost %d lists", n)
		}
		before := len(net.requests())
		if list, err := c.FileSystemAttachments(t.Context(), strings.ToUpper(idA), time.Minute); err != nil || len(list.Items) != 1 || len(net.requests()) != before {
			t.Errorf("a list that may be old: %+v, %v, %d requests", list, err, len(net.requests())-before)
		}
	})
}

func TestFileSystemRegionsInEitherForm(t *testing.T) {
	for body, want := range map[string][]string{
		`{"regions":["EWR","ams"]}`:                             {"ewr", "ams"},
		`{"regions":[{"id":"ewr","city":"x"},{"id":"AMS"}]}`:    {"ewr", "ams"},
		`{"regions":[],"meta":{"total":0,"links":{"next":""}}}`: nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			net := &cloud{answer: func(*http.Request) (*http.Response, error) { return reply(200, body), nil }}
			c := net.client(t)
			for range 2 {
				if got, err := c.FileSystemRegions(t.Context()); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: got %v, %v", body, got, err)
				}
			}
			if n := len(net.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
