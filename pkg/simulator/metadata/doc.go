// Package metadata is the metadata service that a guest finds at http://169.254.169.254, without a key.
//
// It tells instances apart by the asker's address. What nobody of the simulated cloud has asked from is answered
// with 404 and logged, because a node that asks from a wrong address is a fault in a set-up that is hard to see.
package metadata
