import Foundation
import Testing

@Suite(
    "machines that are ready before they are wanted", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct CacheTests {
    private func withServer(machines: Int = 1, seconds: Int = Lab.deadline, _ script: String) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("exec sleep 1000")
        let script = #"""
            k() { \#(lab.kata) "$@"; }
            printf '[factory]\nvm_cache_number = \#(machines)\nvm_cache_endpoint = "%s/cache.sock"\n' $PWD >> configuration.toml
            serve() { \#(lab.kata) factory init > server.out 2> server.err & server=$!; full; }
            full() {
                for i in $(seq 400); do [ "$(k factory status 2> /dev/null | grep -c '^VM pid')" = \#(machines) ] && return; sleep 0.1; done
                cat server.err
            }
            cached() { tr '\0' ' ' < /proc/$(cat /run/vc/vm/$1/qemu.pid)/cmdline | grep -c -- '-name sandbox-.cached'; }
            up() { k create -b bundle $1 < /dev/null > out 2>&1 && k start $1 || cat out; grep warning: out; }
            left() { k check --leaks | grep -e cached -e t-cache; ls -A /run/vc/vm /run/kata-containers/shared/sandboxes | grep -e cached -e t-cache; ls cache.sock 2> /dev/null; }
            """# + "\n" + script
        try script.write(toFile: lab.directory + "/script", atomically: true, encoding: .utf8)
        // Warm VMs see later mounts of their callers only where the host's mounts are shared, as under systemd.
        return try lab.sh("unshare --mount --propagation shared bash script", seconds: seconds)
    }

    @Test(
        "a sandbox goes on with a machine that waits: name, clock, limits are its own; another one is made; destroy ends all"
    )
    func handedOver() throws {
        let outcome = try withServer(
            #"""
            serve
            k factory status | sed "s/[0-9]* Cpu/N Cpu/; s/server pid = $server$/server pid = own/"
            jq '.hostname = "mine" | .linux.resources.memory = {limit: 300000000}' bundle/config.json > c; mv c bundle/config.json
            up t-cache1; cached t-cache1; full
            k exec t-cache1 sh -c 'hostname; awk "/MemTotal/ {print (\$2 > 500000)}" /proc/meminfo'
            echo $(($(date +%s) - $(k exec t-cache1 date +%s) < 5)); pgrep -f '[s]him-kata-v2.*-id t-cache1' | wc -l
            k delete --force t-cache1; ls /run/vc/vm | grep -c cache1
            k factory destroy; wait $server; echo $?; left
            """#)
        #expect(
            outcome.output == """
                VM cache server pid = own
                VM pid = N Cpu = 1 Memory = 256MiB
                1
                mine
                1
                1
                1
                0
                vm factory destroyed
                0

                """, "\(outcome.output) \(outcome.error)")
    }

    @Test(
        "a machine of other settings is not used; after a server that was killed: one warning, and the sandbox boots; nothing is left"
    )
    func fallback() throws {
        let outcome = try withServer(
            #"""
            serve; sed -i 's/^default_memory = 256/default_memory = 300/' configuration.toml
            up t-cache2 | grep -c 'made with other settings'; cached t-cache2; k delete --force t-cache2
            sed -i 's/^default_memory = 300/default_memory = 256/' configuration.toml
            kill -9 $server; wait $server 2> /dev/null; sleep 1
            up t-cache3 | grep -c 'start it with kata-runtime factory init'; cached t-cache3; k exec t-cache3 echo fine
            k delete --force t-cache3; rm cache.sock; left
            """#)
        #expect(outcome.output == "1\n0\n1\n0\nfine\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("a process that is killed while a warm VM waits or is handed over leaves nothing, and another VM is made")
    func killed() throws {
        let outcome = try withServer(
            #"""
            serve; kill -9 $(k factory status | sed -n 's/^VM pid = \([0-9]*\).*/\1/p'); sleep 0.5; full
            kill -9 $(pgrep -f '[s]him-kata-v2 -id .cached'); sleep 0.5; full
            for delay in 0.01 0.02 0.04 0.08; do
                k create -b bundle t-cache4 < /dev/null > /dev/null 2>&1 & taker=$!
                sleep $delay; kill -9 $(pgrep -P $taker) $taker; wait $taker 2> /dev/null; sleep 0.2
                k delete --force t-cache4; full
            done
            k factory destroy; wait $server; left
            """#)
        #expect(outcome.output == "vm factory destroyed\n", "\(outcome.output) \(outcome.error)")
    }
}
