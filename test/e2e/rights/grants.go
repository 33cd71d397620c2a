package rights

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// all stands for everything in a rule.
const all = "*"

// Right is the part of a rule that is about one verb and one kind of object, or one path.
type Right struct {
	Verb string
	// Group and Resource, which has the subresource after a slash, are those of the rule. Names are the objects to which it is
	// restricted, none for all.
	Group, Resource string
	Names           []string
	// Path is set instead of these for a non-resource URL.
	Path string
}

// String is the verb and what it is for.
func (r Right) String() string { return r.Verb + " " + r.Path + qualified(r.Group, r.Resource) }

// Of takes rules apart.
func Of(rules []rbacv1.PolicyRule) []Right {
	var rights []Right
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					rights = append(rights, Right{Verb: verb, Group: group, Resource: resource, Names: rule.ResourceNames})
				}
			}
			for _, path := range rule.NonResourceURLs {
				rights = append(rights, Right{Verb: verb, Path: path})
			}
		}
	}
	return rights
}

// Allows reports whether the right is enough for a call, as the apiserver judges that.
func (r Right) Allows(c Call) bool {
	if r.Verb != all && r.Verb != c.Verb {
		return false
	}
	if c.Resource == "" {
		return r.Path != "" && (r.Path == c.Path || strings.HasSuffix(r.Path, all) && strings.HasPrefix(c.Path, strings.TrimRight(r.Path, all)))
	}
	return r.Resource != "" && (r.Group == all || r.Group == c.Group) && r.isFor(c.Resource) && r.names(c)
}

// isFor reports whether the right is about a resource: pods does not have pods/log in it, but * has, and so has */log.
func (r Right) isFor(resource string) bool {
	_, subresource, has := strings.Cut(resource, "/")
	return r.Resource == all || r.Resource == resource || has && r.Resource == all+"/"+subresource
}

// names reports whether the right is about the object of a call. What is to be made has no name yet when that is judged, though the
// log may have it.
func (r Right) names(c Call) bool {
	name := c.Name
	if c.Verb == "create" && !strings.Contains(c.Resource, "/") {
		name = ""
	}
	return len(r.Names) == 0 || slices.Contains(r.Names, name)
}

// Grant is a right that an account has by a role.
type Grant struct {
	Right
	// Role is the role's kind and name.
	Role string
	// User is the account. Namespace is the only one in which it has the right, "" for all of them.
	User, Namespace string
	// Program is the one of the account's programs that the role is for, "" for all of them.
	Program string
}

// String names the role and the right.
func (g Grant) String() string { return g.Role + ": " + g.Right.String() }

// serves reports whether a call was allowed by the grant, perhaps by others too.
func (g Grant) serves(c Call) bool {
	return !c.Denied && g.User == c.User && (g.Program == "" || g.Program == c.Program) && (g.Namespace == "" || g.Namespace == c.Namespace) && g.Allows(c)
}

// Unused returns the grants that no call was served by.
func Unused(grants []Grant, calls []Call) []Grant {
	different := map[Call]bool{}
	for _, c := range calls {
		c.Code = 0
		different[c] = true
	}
	left := slices.Clone(grants)
	for c := range different {
		left = slices.DeleteFunc(left, func(g Grant) bool { return g.serves(c) })
	}
	return left
}
