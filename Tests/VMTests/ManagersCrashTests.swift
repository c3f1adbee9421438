import Testing

extension ManagersTests {
    @Test(
        "Docker: a killed daemon finds its containers again, ended without live-restore and untouched with it, and removes all of them"
    )
    func dockerKilled() throws {
        let outcome = try withDocker(
            """
            killed() { kill -KILL $daemon $(pgrep -f "[c]ontainerd --config $PWD/exec"); wait $daemon 2> /dev/null; }
            d run -d --name kept --restart always --runtime kata busybox sh -c 'echo up; sleep 1000' > /dev/null
            d run -d --name ended --runtime kata -i busybox sleep 1000 > /dev/null
            killed; machines; begin
            d exec kept echo inside; d logs kept; d inspect -f '{{.State.Status}} {{.State.ExitCode}}' ended
            d start ended > /dev/null; d exec ended echo started
            note d; d rm -f kept ended > /dev/null; left
            kill $daemon; wait $daemon; sed -i 's/"storage/"live-restore": true, "storage/' daemon.json; begin
            d run -d --name lives --runtime kata -p 18084:80 busybox \
                sh -c 'echo page > /tmp/index.html; httpd -h /tmp; while :; do sleep 0.5; echo tick; done' > /dev/null
            d run -d --name stops --runtime kata busybox sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done' > /dev/null
            d run -d --name ends --runtime kata busybox sh -c 'sleep 2; exit 9' > /dev/null
            killed; sleep 2; begin
            d inspect -f '{{.State.Status}} {{.RestartCount}}' lives; d exec lives echo inside
            d logs --tail 1 lives; inside /bin/busybox wget -qO- http://127.0.0.1:18084/
            d stop -t 10 stops > /dev/null; d inspect -f '{{.State.ExitCode}}' stops ends; d start stops > /dev/null; d exec stops echo started
            note d; d rm -f lives stops ends > /dev/null; left; leaks
            """, seconds: 180, apart: true)
        #expect(
            outcome.output == """
                2
                inside
                up
                up
                exited 137
                started
                running 0
                inside
                tick
                page
                3
                9
                started

                """, "\(outcome.error)")
    }

    @Test("Podman: a container whose conmon was killed is found, used, stopped and removed; nothing of it stays")
    func conmonKilled() throws {
        let outcome = try withPodman(
            """
            p run -d --name orphan busybox sh -c 'trap "exit 4" TERM; while :; do sleep 0.1; done' > /dev/null
            p run -d --name other busybox sleep 1000 > /dev/null
            pkill -KILL -f "[c]onmon --api-version 1 -c .* -n (orphan|other) .*$PWD"
            p ps --format '{{.Names}}' | sort; p exec orphan echo inside
            p stop -t 10 orphan > /dev/null; note p; p rm -f -t 0 orphan other > /dev/null; p ps -aq | wc -l
            p run -d --name killed busybox sleep 1000 > /dev/null; kill -KILL $(p inspect -f '{{.State.Pid}}' killed)
            for i in $(seq 400); do [ "$(p inspect -f '{{.State.Status}}' killed)" = exited ] && break; sleep 0.1; done
            p inspect -f '{{.State.Status}} {{.State.ExitCode}}' killed; p start killed > /dev/null; p exec killed echo again
            note p; p rm -f -t 0 killed > /dev/null; left 120; leaks
            """, apart: true)
        #expect(outcome.output == "orphan\nother\ninside\n0\nexited 137\nagain\n", "\(outcome.error)")
    }
}
