package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

const uid = types.UID("6c8f4d0c-43b6-4d94-b8f5-1c5c0e0a3c11")

// other is another Service, whose entry is in the same ConfigMap; third is a third one.
var other, third = sibling(1), sibling(2)

// sibling returns the n-th UID whose entry is in the same ConfigMap as uid's.
func sibling(n int) types.UID {
	for i := 0; ; i++ {
		found := types.UID(fmt.Sprintf("%08d-0000-4d94-b8f5-1c5c0e0a3c11", i))
		if ledger.Name(found) != ledger.Name(uid) {
			continue
		}
		if n--; n == 0 {
			return found
		}
	}
}

func loaded(t *testing.T, client *fake.Clientset) *ledger.Ledger {
	t.Helper()
	l := ledger.New(client)
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, l *ledger.Ledger, uid types.UID, entry ledger.Entry) {
	t.Helper()
	if err := l.Put(t.Context(), uid, entry); err != nil {
		t.Fatal(err)
	}
}

// wantEntry checks what is known of a Service.
func wantEntry(t *testing.T, l *ledger.Ledger, uid types.UID, want ledger.Entry) {
	t.Helper()
	entry, err := l.Get(uid)
	if err != nil {
		t.Fatal(err)
	}
	if entry != want {
		t.Errorf("entry of %s: %+v, want %+v", uid, entry, want)
	}
}

// stored returns the ConfigMap as the API server has it.
func stored(t *testing.T, client *fake.Clientset) *v1.ConfigMap {
	t.Helper()
	found, err := client.CoreV1().ConfigMaps(ledger.Namespace).Get(t.Context(), ledger.Name(uid), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// removed deletes the ConfigMap, as people may do at any time.
func removed(t *testing.T, client *fake.Clientset) {
	t.Helper()
	if err := client.CoreV1().ConfigMaps(ledger.Namespace).Delete(t.Context(), ledger.Name(uid), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// failing lets the API server refuse every request of this kind for ConfigMaps.
func failing(client *fake.Clientset, verb string, err error) {
	client.PrependReactor(verb, "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
}

// requests counts the requests of this kind.
func requests(client *fake.Clientset, verb string) int {
	n := 0
	for _, action := range client.Actions() {
		if action.GetVerb() == verb {
			n++
		}
	}
	return n
}

// withData adds a ConfigMap that somebody wrote.
func withData(t *testing.T, client *fake.Clientset, data map[string]string, made time.Time) {
	t.Helper()
	if err := client.Tracker().Add(&v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(uid), CreationTimestamp: metav1.NewTime(made)},
		Data:       data,
	}); err != nil {
		t.Fatal(err)
	}
}

// What is not known is not taken for empty.
func TestNothingIsKnownBeforeLoad(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := ledger.New(client)
	if _, err := l.Get(uid); !errors.Is(err, ledger.ErrNotLoaded) {
		t.Errorf("Get: %v", err)
	}
	if err := l.Put(t.Context(), uid, ledger.Entry{ID: "1"}); !errors.Is(err, ledger.ErrNotLoaded) {
		t.Errorf("Put: %v", err)
	}
	if err := l.Put(t.Context(), uid, ledger.Entry{}); !errors.Is(err, ledger.ErrNotLoaded) {
		t.Errorf("Put of nothing: %v", err)
	}
	if all := l.All(); len(all) != 0 {
		t.Errorf("All: %v", all)
	}
	if n := len(client.Actions()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// The first entry makes its ConfigMap, which says what it is. What is empty needs none.
func TestFirstEntryMakesTheConfigMap(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := loaded(t, client)
	wantEntry(t, l, uid, ledger.Entry{})
	if n := requests(client, "create"); n != 0 {
		t.Errorf("%d ConfigMaps without an entry", n)
	}
	put(t, l, uid, ledger.Entry{ID: "1"})
	found := stored(t, client)
	if found.Data[string(uid)] == "" || found.Labels["app"] != "vultr-ccm" || !strings.Contains(found.Annotations["kubernetes.io/description"], "alone") {
		t.Errorf("%+v", found)
	}
}

// A ConfigMap that was made by an earlier process is read, and not made again.
func TestLoadReadsWhatIsThere(t *testing.T) {
	client := fake.NewSimpleClientset()
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	withData(t, client, map[string]string{string(uid): `{"service":"shop/web","id":"1","tried":"2026-01-02T12:00:00Z"}`}, made)
	l := loaded(t, client)
	wantEntry(t, l, uid, ledger.Entry{Service: "shop/web", ID: "1", Tried: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)})
	if n := requests(client, "create"); n != 0 {
		t.Errorf("%d requests to make it", n)
	}
}

// A read that fails leaves everything unknown: nothing is made over what may be there.
func TestLoadThatFails(t *testing.T) {
	for name, err := range map[string]error{
		"forbidden":   apierrors.NewForbidden(v1.Resource("configmaps"), ledger.Name(uid), errors.New("no role")),
		"unavailable": apierrors.NewServiceUnavailable("down"),
		"timeout":     apierrors.NewTimeoutError("slow", 1),
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewSimpleClientset()
			failing(client, "get", err)
			l := ledger.New(client)
			if got := l.Load(t.Context()); !errors.Is(got, err) || !strings.Contains(got.Error(), "kube-system/vultr-load-balancers") {
				t.Errorf("Load: %v", got)
			}
			if _, err := l.Get(uid); !errors.Is(err, ledger.ErrNotLoaded) {
				t.Errorf("Get: %v", err)
			}
			if n := requests(client, "create"); n != 0 {
				t.Errorf("%d requests to make it", n)
			}
		})
	}
}

// Without permission to make the ConfigMap nothing counts as written.
func TestConfigMapThatCannotBeMade(t *testing.T) {
	client := fake.NewSimpleClientset()
	failing(client, "create", apierrors.NewForbidden(v1.Resource("configmaps"), ledger.Name(uid), errors.New("no role")))
	l := loaded(t, client)
	if err := l.Put(t.Context(), uid, ledger.Entry{ID: "1"}); !apierrors.IsForbidden(err) {
		t.Errorf("Put: %v", err)
	}
	wantEntry(t, l, uid, ledger.Entry{})
}

// An entry that cannot be read stops its own Service alone, and stays as it is until people change it: it may be a load
// balancer that is paid for.
func TestGarbledEntry(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "x", "cut off": `{"id":"1`, "wrong type": `{"id":1}`, "no time": `{"tried":"yesterday"}`, "empty": ""} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewSimpleClientset()
			withData(t, client, map[string]string{string(other): `{"id":"1"}`, string(uid): text, "note": "checked by Bob"}, time.Now())
			l := loaded(t, client)
			unreadable := func(err error) bool {
				return err != nil && strings.Contains(err.Error(), string(uid)) && strings.Contains(err.Error(), "mend the entry")
			}
			if _, err := l.Get(uid); !unreadable(err) {
				t.Errorf("Get: %v", err)
			}
			if err := l.Put(t.Context(), uid, ledger.Entry{ID: "1"}); !unreadable(err) {
				t.Errorf("Put: %v", err)
			}
			put(t, l, other, ledger.Entry{ID: "2"})
			put(t, l, third, ledger.Entry{ID: "3"})
			if err := l.Mend(t.Context()); err != nil {
				t.Error(err)
			}
			wantEntry(t, l, other, ledger.Entry{ID: "2"})
			if data := stored(t, client).Data; data[string(uid)] != text || data["note"] != "checked by Bob" {
				t.Errorf("the ConfigMap is %q now", data)
			}
		})
	}
}

// People mend an entry, or remove it, while the controller runs.
func TestMendedByPeople(t *testing.T) {
	for name, test := range map[string]struct {
		change func(data map[string]string)
		want   ledger.Entry
	}{
		"mended":  {func(data map[string]string) { data[string(uid)] = `{"id":"9"}` }, ledger.Entry{ID: "9"}},
		"removed": {func(data map[string]string) { delete(data, string(uid)) }, ledger.Entry{}},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewSimpleClientset()
			withData(t, client, map[string]string{string(other): `{"id":"1"}`, string(uid): "x"}, time.Now())
			l := loaded(t, client)
			put(t, l, third, ledger.Entry{ID: "3"})
			cm := stored(t, client)
			test.change(cm.Data)
			if _, err := client.CoreV1().ConfigMaps(ledger.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := l.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantEntry(t, l, uid, test.want)
			wantEntry(t, l, other, ledger.Entry{ID: "1"})
			put(t, l, uid, ledger.Entry{ID: "10"})
		})
	}
}

// Every field survives the way through the API server, so that an entry that was read equals the one that was written.
func TestRoundTrip(t *testing.T) {
	at := ledger.Second(time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("east", 3*3600)))
	if want := time.Date(2026, 1, 2, 0, 4, 5, 0, time.UTC); at != want {
		t.Fatalf("Second: %s, want %s", at, want)
	}
	entry := ledger.Entry{
		Service: "shop/web", ID: "1", Tried: at, Made: at.Add(time.Second), Shown: true, Adopted: true, Deleted: at.Add(2 * time.Second),
		Noted: "2", Address: "192.0.2.1", Certificate: "c", Firewall: true, Late: at.Add(3 * time.Second), Guests: ledger.MembersOf("b", "c"),
		Group: "www", Unseen: true, Asked: "d", Regions: true,
	}
	client := fake.NewSimpleClientset()
	put(t, loaded(t, client), uid, entry)
	next := loaded(t, client)
	wantEntry(t, next, uid, entry)
	put(t, next, uid, entry)
	if n := requests(client, "create") + requests(client, "patch"); n != 1 {
		t.Errorf("%d writes of one entry", n)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(stored(t, client).Data[string(uid)]), &fields); err != nil || len(fields) != 17 {
		t.Errorf("%v, %v", fields, err)
	}
}

// An entry holds only what is known: a zero time is no time.
func TestZeroTimesAreNotWritten(t *testing.T) {
	client := fake.NewSimpleClientset()
	put(t, loaded(t, client), uid, ledger.Entry{Service: "shop/web", ID: "1"})
	if text := stored(t, client).Data[string(uid)]; text != `{"service":"shop/web","id":"1"}` {
		t.Errorf("%s", text)
	}
}

// A write changes one entry and leaves the others, also those that another process wrote.
func TestPutWritesOneEntry(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := loaded(t, client)
	put(t, l, uid, ledger.Entry{ID: "1"})
	put(t, loaded(t, client), other, ledger.Entry{ID: "2"})
	put(t, l, third, ledger.Entry{ID: "3"})
	put(t, l, uid, ledger.Entry{ID: "1", Shown: true})
	next := loaded(t, client)
	wantEntry(t, next, uid, ledger.Entry{ID: "1", Shown: true})
	wantEntry(t, next, other, ledger.Entry{ID: "2"})
	wantEntry(t, next, third, ledger.Entry{ID: "3"})
	if n := requests(client, "create"); n != 1 {
		t.Errorf("%d requests to make the ConfigMap", n)
	}
}

// The zero Entry takes an entry away, here and at the API server.
func TestRemove(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := loaded(t, client)
	put(t, l, uid, ledger.Entry{ID: "1"})
	put(t, l, other, ledger.Entry{ID: "2"})
	put(t, l, uid, ledger.Entry{})
	if all := l.All(); len(all) != 1 || all[other].ID != "2" {
		t.Errorf("%v", all)
	}
	if data := stored(t, client).Data; len(data) != 2 || data[string(other)] == "" || data["writer"] == "" {
		t.Errorf("%v", data)
	}
	writes := requests(client, "patch")
	put(t, l, uid, ledger.Entry{})
	put(t, l, "never", ledger.Entry{})
	if n := requests(client, "patch"); n != writes {
		t.Errorf("%d writes for what is not there", n-writes)
	}
}

// A write that fails is told, and nothing counts as written: the same entry is sent again.
func TestPutThatFails(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := loaded(t, client)
	put(t, l, uid, ledger.Entry{Service: "shop/web", ID: "1"})
	down := true
	client.PrependReactor("patch", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return down, nil, apierrors.NewServiceUnavailable("down")
	})
	err := l.Put(t.Context(), uid, ledger.Entry{Service: "shop/web", ID: "2"})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "shop/web") {
		t.Errorf("Put: %v", err)
	}
	if err := l.Put(t.Context(), third, ledger.Entry{ID: "3"}); err == nil {
		t.Error("a write that failed is told as done")
	}
	wantEntry(t, l, uid, ledger.Entry{Service: "shop/web", ID: "1"})
	if all := l.All(); len(all) != 1 {
		t.Errorf("%v", all)
	}
	down = false
	put(t, l, uid, ledger.Entry{Service: "shop/web", ID: "2"})
	wantEntry(t, loaded(t, client), uid, ledger.Entry{Service: "shop/web", ID: "2"})
}

// Somebody deletes the ConfigMap while the process runs: the next write puts back all that is known.
func TestConfigMapIsDeleted(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := loaded(t, client)
	put(t, l, uid, ledger.Entry{ID: "1"})
	put(t, l, other, ledger.Entry{ID: "2"})
	removed(t, client)
	put(t, l, third, ledger.Entry{ID: "3"})
	next := loaded(t, client)
	for uid, id := range map[types.UID]string{uid: "1", other: "2", third: "3"} {
		wantEntry(t, l, uid, ledger.Entry{ID: id})
		wantEntry(t, next, uid, ledger.Entry{ID: id})
	}

	removed(t, client)
	put(t, l, other, ledger.Entry{})
	next = loaded(t, client)
	if all := next.All(); len(all) != 2 || all[uid].ID != "1" || all[third].ID != "3" {
		t.Errorf("%v", all)
	}
}

// The ConfigMap was deleted and cannot be made again: what was known stays known, and the write is told as failed.
func TestConfigMapIsDeletedAndCannotBeMade(t *testing.T) {
	client := fake.NewSimpleClientset()
	l := loaded(t, client)
	put(t, l, uid, ledger.Entry{ID: "1"})
	put(t, l, other, ledger.Entry{ID: "2"})
	removed(t, client)
	down := true
	client.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return down, nil, apierrors.NewServiceUnavailable("down")
	})
	for uid, entry := range map[types.UID]ledger.Entry{uid: {ID: "9"}, other: {}, third: {ID: "3"}} {
		if err := l.Put(t.Context(), uid, entry); !apierrors.IsServiceUnavailable(err) {
			t.Errorf("Put of %s: %v", uid, err)
		}
	}
	wantEntry(t, l, uid, ledger.Entry{ID: "1"})
	wantEntry(t, l, other, ledger.Entry{ID: "2"})
	if all := l.All(); len(all) != 2 {
		t.Errorf("%v", all)
	}
	down = false
	put(t, l, third, ledger.Entry{ID: "3"})
	if all := loaded(t, client).All(); len(all) != 3 || all[uid].ID != "1" || all[other].ID != "2" {
		t.Errorf("%v", all)
	}
}

// What All returns belongs to the caller.
func TestAllIsACopy(t *testing.T) {
	l := loaded(t, fake.NewSimpleClientset())
	put(t, l, uid, ledger.Entry{ID: "1"})
	all := l.All()
	delete(all, uid)
	all[other] = ledger.Entry{ID: "2"}
	wantEntry(t, l, uid, ledger.Entry{ID: "1"})
	wantEntry(t, l, other, ledger.Entry{})
}
