// Package notices collects the licences of what Go links into a program, as their texts have to be passed on with it, and judges them: a
// program that is published has nothing in it whose licence nobody here has agreed to.
package notices
