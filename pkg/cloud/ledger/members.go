package ledger

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// Members are Services, by their UIDs. It is text, so that entries stay comparable: the UIDs in their order, separated by
// commas.
type Members string

// MembersOf returns the Services as Members, each of them once.
func MembersOf(uids ...types.UID) Members {
	names := make([]string, 0, len(uids))
	for _, uid := range uids {
		if uid != "" {
			names = append(names, string(uid))
		}
	}
	slices.Sort(names)
	return Members(strings.Join(slices.Compact(names), ","))
}

// List returns the Services in their order.
func (m Members) List() []types.UID {
	var uids []types.UID
	for name := range strings.SplitSeq(string(m), ",") {
		if name != "" {
			uids = append(uids, types.UID(name))
		}
	}
	return uids
}

// Has reports whether the Service is one of them.
func (m Members) Has(uid types.UID) bool { return slices.Contains(m.List(), uid) }

// With returns them and the Service.
func (m Members) With(uid types.UID) Members { return MembersOf(append(m.List(), uid)...) }

// Without returns them but for the Service.
func (m Members) Without(uid types.UID) Members {
	return MembersOf(slices.DeleteFunc(m.List(), func(member types.UID) bool { return member == uid })...)
}
