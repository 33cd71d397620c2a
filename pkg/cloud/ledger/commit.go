package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// markKey has the mark of the last write beside the entries: the process, and the number of its write.
const markKey = "writer"

// about says to people what the ConfigMap is.
const about = "Which load balancer belongs to which Service (by UID). Written by the Vultr cloud controller manager alone; " +
	"without it load balancers are found again by their labels only."

// attempts bounds how often one batch is sent, each time because the shard was found changed by somebody else.
const attempts = 4

// write is the contents of a shard with the mark that they are sent under.
type write struct {
	mark  string
	texts map[string]string
}

// load reads the shard again.
func (s *shard) load(ctx context.Context) error {
	found, err := s.read(ctx)
	if err != nil {
		return err
	}
	texts := map[string]string{}
	if found != nil {
		texts = withoutMark(found.Data)
	}
	entries, unreadable := s.decode(ctx, texts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.unreadable, s.changed, s.texts, s.there = entries, unreadable, map[types.UID]bool{}, texts, found
	return nil
}

// decode reads entries. What cannot be read stops its own Service alone, if there is one: it may also be a note of
// somebody.
func (s *shard) decode(ctx context.Context, texts map[string]string) (entries map[types.UID]Entry, unreadable map[types.UID]error) {
	entries, unreadable = map[types.UID]Entry{}, map[types.UID]error{}
	for uid, text := range texts {
		entry, err := decode(uid, text)
		if err != nil {
			unreadable[types.UID(uid)] = fmt.Errorf("ConfigMap %s/%s: %w", Namespace, s.name, err)
			klog.FromContext(ctx).Error(err, "An entry in the record of load balancers cannot be read", "configMap", s.name, "key", uid)
			continue
		}
		entries[types.UID(uid)] = entry
	}
	return entries, unreadable
}

// read returns the ConfigMap, nil if there is none.
func (s *shard) read(ctx context.Context) (*v1.ConfigMap, error) {
	found, err := s.maps.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", Namespace, s.name, err)
	}
	return found, nil
}

func withoutMark(data map[string]string) map[string]string {
	texts := maps.Clone(data)
	delete(texts, markKey)
	if texts == nil {
		texts = map[string]string{}
	}
	return texts
}

// commit writes the batch. All of it is done when it returns.
func (s *shard) commit(ctx context.Context, batch []*change) {
	err := s.compare(ctx, batch)
	if err != nil {
		s.settle(batch, err)
		return
	}
	for range attempts {
		open := s.open(batch)
		want := s.with(open)
		if !s.differs(want) {
			s.accept(want, open)
			return
		}
		before := s.there
		if err = s.send(ctx, want); err == nil {
			s.accept(want, open)
			if !s.differs(want) {
				return
			}
			klog.FromContext(ctx).Info("Somebody has changed the record of load balancers; it is restored", "configMap", s.name)
			continue
		}
		// Whether it was written, and why not, is seen by what is there now.
		if unseen := s.look(ctx); unseen != nil {
			err = fmt.Errorf("%w; what is there now is not known: %w", err, unseen)
			break
		}
		if same(before, s.there) {
			break
		}
		if s.there != nil && s.there.Data[markKey] == s.sent.mark {
			s.accept(want, open)
		}
	}
	s.settle(batch, err)
	if err != nil {
		klog.FromContext(ctx).V(2).Info("The record of load balancers could not be written", "configMap", s.name, "err", err)
	}
}

// compare looks at the shard if that is asked for, and a list has not shown it as it is known.
func (s *shard) compare(ctx context.Context, batch []*change) error {
	if !slices.ContainsFunc(batch, func(c *change) bool { return c.look && (!c.listed || !same(c.seen, s.there)) }) {
		return nil
	}
	return s.look(ctx)
}

// with returns the contents of the shard after these changes.
func (s *shard) with(changes []*change) map[string]string {
	want := maps.Clone(s.texts)
	for _, c := range changes {
		switch {
		case c.look:
		case c.text == "":
			delete(want, string(c.uid))
		default:
			want[string(c.uid)] = c.text
		}
	}
	return want
}

// differs reports whether the API server lacks something of the contents, or has what is to be removed.
func (s *shard) differs(want map[string]string) bool {
	if s.there == nil {
		return len(want) > 0
	}
	return len(s.operations(want)) > 0
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// operations returns what makes the contents out of those that are there.
func (s *shard) operations(want map[string]string) []operation {
	var all []operation
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if s.there.Data[key] != want[key] {
			all = append(all, operation{"add", "/data/" + key, want[key]}) // in the place of another, too
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.texts)) {
		_, wanted := want[key]
		if _, there := s.there.Data[key]; there && !wanted {
			all = append(all, operation{Op: "remove", Path: "/data/" + key})
		}
	}
	return all
}

// send asks the API server for the contents. The shard rests afterwards, whatever came of it.
func (s *shard) send(ctx context.Context, want map[string]string) error {
	s.count++
	s.sent = write{mark: fmt.Sprintf("%s/%d", s.writer, s.count), texts: want}
	size := 0
	for key, text := range want {
		size += len(key) + len(text)
	}
	s.rests = time.Now().Add(time.Duration(size) * time.Second / bytesPerSecond)
	written, err := s.request(ctx)
	if err != nil {
		return err
	}
	s.there = written
	return nil
}

func (s *shard) request(ctx context.Context) (*v1.ConfigMap, error) {
	if s.there == nil {
		data := maps.Clone(s.sent.texts)
		data[markKey] = s.sent.mark
		return s.maps.Create(ctx, &v1.ConfigMap{ //nolint:wrapcheck // Put says what was tried
			ObjectMeta: metav1.ObjectMeta{
				Namespace: Namespace, Name: s.name,
				Labels:      map[string]string{labelKey: labelValue},
				Annotations: map[string]string{"kubernetes.io/description": about},
			},
			Data: data,
		}, metav1.CreateOptions{})
	}
	var patch []operation
	switch mark := s.there.Data[markKey]; {
	case mark != "":
		patch = append(patch, operation{"test", "/data/" + markKey, mark})
	case s.there.ResourceVersion != "":
		patch = append(patch, operation{"test", "/metadata/resourceVersion", s.there.ResourceVersion})
	}
	if len(s.there.Data) == 0 {
		patch = append(patch, operation{"add", "/data", map[string]string{}})
	}
	patch = append(patch, s.operations(s.sent.texts)...)
	patch = append(patch, operation{"add", "/data/" + markKey, s.sent.mark})
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("writing the patch: %w", err)
	}
	return s.maps.Patch(ctx, s.name, types.JSONPatchType, text, metav1.PatchOptions{}) //nolint:wrapcheck // Put says what was tried
}

// accept makes what was stored the truth for everybody here.
func (s *shard) accept(want map[string]string, changes []*change) {
	s.texts = want
	s.mu.Lock()
	for _, c := range changes {
		switch {
		case c.look:
		case c.text == "":
			delete(s.entries, c.uid)
		default:
			s.entries[c.uid] = c.entry
		}
	}
	s.mu.Unlock()
	s.settle(changes, nil)
}

// look reads the shard and learns what somebody else has done to it.
func (s *shard) look(ctx context.Context) error {
	found, err := s.read(ctx)
	if err != nil {
		return err
	}
	texts, foreign := s.texts, false
	switch mark := markOf(found); {
	case mark == "" || mark == markOf(s.there): // people alone can have changed it
		texts = s.mended(found)
	case !strings.HasPrefix(mark, s.writer+"/"):
		texts, foreign = withoutMark(found.Data), true
	}
	s.learn(ctx, texts, foreign)
	s.there = found
	return nil
}

// mended returns the contents with what people have made of entries that could not be read.
func (s *shard) mended(found *v1.ConfigMap) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := maps.Clone(s.texts)
	for uid := range s.unreadable {
		delete(texts, string(uid))
		if found != nil && found.Data[string(uid)] != "" {
			texts[string(uid)] = found.Data[string(uid)]
		}
	}
	return texts
}

func markOf(found *v1.ConfigMap) string {
	if found == nil {
		return ""
	}
	return found.Data[markKey]
}

// learn takes over other contents.
func (s *shard) learn(ctx context.Context, texts map[string]string, foreign bool) {
	others := maps.Clone(texts)
	maps.DeleteFunc(others, func(uid, text string) bool { return s.texts[uid] == text })
	fresh, unreadable := s.decode(ctx, others)
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.texts {
		if _, there := texts[key]; there && others[key] == "" {
			continue // as it was
		}
		delete(s.entries, types.UID(key))
		delete(s.unreadable, types.UID(key))
		if foreign {
			s.changed[types.UID(key)] = true
		}
	}
	for key := range others {
		if foreign {
			s.changed[types.UID(key)] = true
		}
	}
	maps.Copy(s.entries, fresh)
	maps.Copy(s.unreadable, unreadable)
	s.texts = texts
	if foreign {
		klog.FromContext(ctx).Info("Another controller writes the record of load balancers; make sure that one cloud controller manager runs, or several with leader election",
			"configMap", s.name, "entries", len(fresh))
	}
}

// same reports whether nothing has changed between two reads.
func same(a, b *v1.ConfigMap) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ResourceVersion == b.ResourceVersion && a.UID == b.UID && maps.Equal(a.Data, b.Data)
}
