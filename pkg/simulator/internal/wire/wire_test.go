package wire

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecode(t *testing.T) {
	type body struct {
		Size int `json:"size"`
	}
	for text, want := range map[string]string{
		`{"size":3}`: "3", ``: "0", ` `: "0", `{}`: "0", `{"size":null,"more":[1]}`: "0",
		`{"size":"3"}`:               "Invalid value for size.",
		`{"size":3.5}`:               "Invalid value for size.",
		`{"size":3`:                  "Invalid JSON",
		`{"size":3}{}`:               "Invalid JSON",
		`[]`:                         "must be an object",
		`"size"`:                     "must be an object",
		strings.Repeat("[", 1000):    "nested too deeply",
		`{"a":"` + `[[\"[[` + `"}`:   "0",
		`{"a":[[],[],[]],"size":44}`: "44",
	} {
		var b body
		var got string
		if err := Decode([]byte(text), &b); err != nil {
			got = err.Text
			if err.Status != 400 {
				t.Errorf("%s: status %d", text, err.Status)
			}
		} else {
			got = fmt.Sprint(b.Size)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%.40q: %s, want %s", text, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"size":3,"x":["\"[",{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var v map[string]any
		if err := Decode(body, &v); err != nil && (err.Status != 400 || err.Text == "") {
			t.Errorf("error %v", err)
		}
	})
}

// Pages stay right when items go away between them: nothing comes twice, nothing that stays is left out.
func TestPagesWhileItemsGoAway(t *testing.T) {
	var items []int64
	for i := range int64(50) {
		items = append(items, i+1)
	}
	self := func(i int64) int64 { return i }
	var seen []int64
	q := url.Values{"per_page": {"7"}}
	for {
		page, bad := ParsePage(q)
		if bad != nil {
			t.Fatal(bad)
		}
		cut, meta := Cut(slices.Values(items), page, self)
		seen = append(seen, cut...)
		if meta.Links.Next == "" {
			break
		}
		q.Set("cursor", meta.Links.Next)
		// Everything that was seen goes away, the cursor's own item included.
		items = slices.DeleteFunc(items, func(i int64) bool { return i <= cut[len(cut)-1] })
	}
	if len(seen) != 50 || !slices.IsSorted(seen) {
		t.Errorf("saw %v", seen)
	}
}

func TestBadPages(t *testing.T) {
	for _, q := range []string{"per_page=0", "per_page=x", "cursor=x", "cursor=bmV4dF9feA==", "cursor=bmV4dF9fLTE=", "cursor=aGVsbG8="} {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		if _, bad := ParsePage(v); bad == nil || bad.Status != 400 {
			t.Errorf("%s: %v", q, bad)
		}
	}
	if cut, meta := Cut(slices.Values([]int{}), Page{PerPage: 5}, func(int) int64 { return 0 }); len(cut) != 0 || meta != (Meta{}) {
		t.Errorf("an empty list gives %v %v", cut, meta)
	}
}

func TestForms(t *testing.T) {
	err := error(BadRequest("no %s", "way"))
	if e, ok := errors.AsType[*Error](err); !ok || e.Error() != "400 no way" {
		t.Errorf("error %v", err)
	}
	if got := string(ErrorBody(404, "Not found.")); got != `{"error":"Not found.","status":404}` {
		t.Errorf("body %s", got)
	}
	at := time.Date(2025, 11, 14, 19, 12, 48, 0, time.FixedZone("CET", 3600))
	if got := Time(at); got != "2025-11-14T18:12:48+00:00" {
		t.Errorf("date %s", got)
	}
}
