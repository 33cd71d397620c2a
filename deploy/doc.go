// Package deploy holds the manifests under manifests/; its tests check them as
// far as that goes without a cluster.
package deploy
