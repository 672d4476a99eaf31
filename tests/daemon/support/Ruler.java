import java.nio.charset.StandardCharsets;
import java.util.Scanner;

import software.amazon.event.ruler.Machine;

/**
 * Asks AWS's own engine for patterns what it makes of events, with its jars on the class path:
 *
 *     java -cp 'JARS/*' Ruler.java < ROWS
 *
 * Each line of stdin is a pattern and an event, with a tab between. For each comes a line "yes" or "no"; or
 * "refused", where the pattern is none, or "no json", where the event is none.
 */
public final class Ruler {
    public static void main(String[] arguments) {
        StringBuilder output = new StringBuilder();
        Scanner rows = new Scanner(System.in, StandardCharsets.UTF_8).useDelimiter("\n");
        while (rows.hasNext()) {
            String[] row = rows.next().split("\t", -1);
            output.append(verdict(row[0], row[1])).append('\n');
        }
        System.out.print(output);
    }

    private static String verdict(String pattern, String event) {
        Machine machine = new Machine();
        try {
            machine.addRule("rule", pattern);
        } catch (Exception e) {
            return "refused";
        }
        try {
            return machine.rulesForJSONEvent(event).isEmpty() ? "no" : "yes";
        } catch (Exception e) {
            return "no json";
        }
    }
}
