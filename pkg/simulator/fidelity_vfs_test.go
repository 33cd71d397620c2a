package simulator_test

import (
	"fmt"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// aVFS is the data plane of traits that need one.
var aVFS = newMemoryVFS()

const stillAttached = "Can not delete this subscription until it is detatched from all machines" //nolint:misspell // the platform's

// newVFS makes a file system and waits until it is active.
func (w *world) newVFS(gb int) string {
	w.Helper()
	id := w.post("/v2/vfs", fmt.Sprintf(`{"region":"ewr","label":"v","storage_size":{"gb":%d}}`, gb)).is(201).text("id")
	w.pass(6 * time.Second)
	return id
}

func (w *world) vfs(id string) reply { w.Helper(); return w.get("/v2/vfs/" + id).is(200) }

func attachment(vfs, instance string) string { return "/v2/vfs/" + vfs + "/attachments/" + instance }

func (w *world) attachVFS(vfs, instance string) reply {
	w.Helper()
	return w.put(attachment(vfs, instance), "")
}

var vfsTraits = []trait{
	{name: "10-unwrapped", test: func(w *world) {
		made := w.post("/v2/vfs", `{"region":"ewr","label":"v","storage_size":{"gb":10},"disk_type":"nvme","tags":["a"]}`).is(201)
		id := made.has("status", "pending").text("id") // where errors have a number
		w.pass(6 * time.Second)
		w.vfs(id).has("id", id).has("status", "active").has("region", "ewr").has("label", "v").has("disk_type", "nvme").
			has("tags", []any{"a"}).has("storage_size.gb", 10).has("storage_size.bytes", 10<<30).
			has("storage_used.gb", 0).has("storage_used.bytes", 0).has("billing.monthly", 1).has("billing.charges", 0)
		w.put("/v2/vfs/"+id, `{"label":"w","storage_size":{"gb":0}}`).is(200).has("label", "w").has("storage_size.gb", 10)
		w.get("/v2/vfs/"+nobody).refused(404, "Subscription ID Not Found")
		w.get("/v2/vfs/nobody").refused(400, "Invalid UUID format.")
		if got := len(w.get("/v2/vfs/regions").is(200).items("regions")); got == 0 {
			w.Errorf("no region has file systems")
		}
	}},
	{name: "10-mount-tag", test: func(w *world) {
		f, i := w.newVFS(10), w.server(simulator.NewServer{Label: "i"})
		put := w.attachVFS(f, i).is(200).has("vfs_id", f).has("target_id", i)
		tag, ok := put.at("mount_tag").(float64)
		if !ok || tag < 1 || tag != float64(int(tag)) {
			w.Fatalf("mount_tag is %v (%T), want a whole number", put.at("mount_tag"), put.at("mount_tag"))
		}
		w.post(attachment(f, i), "").is(404) // there is no such verb
		w.pass(5 * time.Second)
		w.get(attachment(f, i)).is(200).has("state", "ATTACHED").has("mount_tag", tag)
		first, _ := w.get("/v2/vfs/" + f + "/attachments").is(200).items("attachments")[0].(map[string]any)
		if first["mount_tag"] != tag {
			w.Errorf("the list has %v", first)
		}
	}},
	{name: "10-conflict-and-validation", test: func(w *world) {
		for body, words := range map[string]string{
			`{"region":"moon","label":"v","storage_size":{"gb":10}}`:                     "region",
			`{"region":"fra","label":"v","storage_size":{"gb":10}}`:                      "region",
			`{"region":"ewr","storage_size":{"gb":10}}`:                                  "label",
			`{"region":"ewr","label":"v"}`:                                               "storage_size",
			`{"region":"ewr","label":"v","storage_size":{"gb":9}}`:                       "storage_size",
			`{"region":"ewr","label":"v","storage_size":{"gb":10},"disk_type":"floppy"}`: "disk_type",
		} {
			w.post("/v2/vfs", body).refusedSaying(422, words)
		}
		f, i := w.newVFS(10), w.server(simulator.NewServer{Label: "i"})
		w.attachVFS(f, w.server(simulator.NewServer{Label: "far", Region: "ams"})).refusedSaying(422, "region")
		w.attachVFS(f, w.server(simulator.NewServer{Label: "old", PrivateMemory: true})).refusedSaying(422, "memory")
		w.attachVFS(f, w.server(simulator.NewServer{Label: "busy", Locked: true})).refused(409, "Server is currently locked")
		w.attachVFS(f, nobody).refused(404, "Invalid instance-id.")
		w.attachVFS(nobody, i).refused(404, "Subscription ID Not Found")
		w.attachVFS(f, i).is(200)
		w.attachVFS(f, i).refusedSaying(409, "already attached")
		w.delete(attachment(f, i)).refusedSaying(409, "being changed")
		w.pass(5 * time.Second)
		w.attachVFS(f, i).refusedSaying(409, "already attached")
		w.delete(attachment(f, i)).is(204)
		w.attachVFS(f, i).refusedSaying(409, "being detached")
	}},
	{name: "10-list-without-meta", test: func(w *world) {
		f := w.newVFS(10)
		w.newVFS(10)
		r := w.get("/v2/vfs").is(200).has("meta", missing)
		first, _ := r.items("vfs")[0].(map[string]any)
		if len(r.items("vfs")) != 2 || first["id"] != f {
			w.Errorf("the list is %s", r.raw)
		}
		w.get("/v2/vfs/"+f+"/attachments").is(200).has("meta", missing)
	}},
	{name: "10-detach-lag", test: func(w *world) {
		f, i := w.newVFS(10), w.server(simulator.NewServer{Label: "i"})
		w.delete(attachment(f, i)).refused(404, "Attachment Not Found")
		w.attachVFS(f, i).is(200)
		w.pass(time.Second)
		w.get(attachment(f, i)).is(200).has("state", "ATTACHING")
		w.pass(4 * time.Second)
		w.delete("/v2/vfs/"+f).refused(409, stillAttached)
		w.delete(attachment(f, i)).is(204)
		w.delete("/v2/vfs/"+f).refused(409, stillAttached) // for a while yet
		w.get(attachment(f, i)).is(200)
		w.pass(5 * time.Second)
		w.get(attachment(f, i)).refused(404, "Attachment Not Found")
		w.delete("/v2/vfs/" + f).is(204)
		w.get("/v2/vfs/" + f).is(404)
	}},
	{name: "10-shrink-to-used", config: simulator.Config{FileSystems: aVFS}, test: func(w *world) {
		f := w.newVFS(40)
		w.put("/v2/vfs/"+f, `{"storage_size":{"gb":50}}`).is(200).has("storage_size.gb", 50)
		w.put("/v2/vfs/"+f, `{"storage_size":{"gb":20}}`).is(200).has("storage_size.bytes", 20<<30)
		aVFS.fill(f, 15<<30)
		w.vfs(f).has("storage_used.gb", 15).has("storage_used.bytes", 15<<30)
		w.put("/v2/vfs/"+f, `{"storage_size":{"gb":14}}`).refusedSaying(422, "15 GB are in use")
		w.put("/v2/vfs/"+f, `{"storage_size":{"gb":15}}`).is(200)
		w.put("/v2/vfs/"+f, `{"storage_size":{"gb":9}}`).refusedSaying(422, "storage_size")
		w.vfs(f).has("storage_size.gb", 15)
	}},
	{name: "10-several-instances", config: simulator.Config{FileSystems: aVFS}, test: func(w *world) {
		f := w.newVFS(10)
		var tags []any
		for n := range 3 {
			i := w.server(simulator.NewServer{Label: fmt.Sprint("i", n)})
			tags = append(tags, w.attachVFS(f, i).is(200).at("mount_tag"))
		}
		w.pass(5 * time.Second)
		if got := len(w.get("/v2/vfs/" + f + "/attachments").items("attachments")); got != 3 {
			w.Errorf("%d attachments, want 3", got)
		}
		if tags[0] == tags[1] || tags[1] == tags[2] {
			w.Errorf("the mount tags %v are not distinct", tags)
		}
	}},
}
