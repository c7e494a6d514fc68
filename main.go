// Command nrprobe tells what a 5G link is really like.
package main

func main() {}
