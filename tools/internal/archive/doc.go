// Package archive writes container images as docker-archive files, which
// `ctr images import` and `docker load` read. It needs neither a container
// runtime nor a registry, and the same input gives the same bytes: every time
// stamp in an image is the epoch, and files are written in a fixed order.
package archive
