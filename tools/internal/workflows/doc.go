// Package workflows holds the tests of what runs on GitHub, which nothing here can run: .github/workflows.
package workflows
